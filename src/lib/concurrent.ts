/**
 * Maps with at most `limit` calls in flight; results keep the order of the items. After an error nothing more is begun,
 * and it is thrown once nothing is under way any more.
 */
export async function mapBounded<Item, Result>(
  items: readonly Item[],
  limit: number,
  map: (item: Item) => Promise<Result>,
): Promise<Result[]> {
  const results: Result[] = [];
  const errors: unknown[] = [];
  let next = 0;
  const worker = async (): Promise<void> => {
    for (let index = next++; index < items.length && errors.length === 0; index = next++) {
      const item = items[index];
      if (item === undefined) continue;
      // oxlint-disable-next-line no-await-in-loop -- the bound is the number of workers
      await map(item).then(
        (result) => (results[index] = result),
        (error: unknown) => errors.push(error),
      );
    }
  };
  await Promise.all(Array.from({ length: Math.min(limit, items.length) }, worker));
  if (errors.length > 0) throw errors[0];
  return results;
}

/** Cuts a stream into arrays of `size`, so that what is in memory does not grow with its length. */
export async function* inBatches<Item>(
  items: AsyncIterable<Item> | Iterable<Item>,
  size: number,
): AsyncGenerator<Item[]> {
  let batch: Item[] = [];
  for await (const item of items) {
    batch.push(item);
    if (batch.length < size) continue;
    yield batch;
    batch = [];
  }
  if (batch.length > 0) yield batch;
}
