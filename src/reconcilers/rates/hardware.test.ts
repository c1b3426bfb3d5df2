import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { ApiError } from '../../controller/api-error.ts';
import { silentLog } from '../../controller/log.ts';
import type { KubeObject } from '../../controller/resources.ts';
import { createManualClock, settleTasks } from '../../controller/testing/manual-clock.ts';
import { createHardware } from './hardware.ts';

const GPU = { resourceName: 'nvidia.com/gpu', count: 1 };
const node = (labels?: Record<string, string>): KubeObject => ({
  metadata: { name: 'gpu-1', uid: 'u', resourceVersion: '1', ...(labels ? { labels } : {}) },
});

function world(read: () => Promise<KubeObject | undefined>) {
  const clock = createManualClock();
  let reads = 0;
  const get = (): Promise<KubeObject | undefined> => {
    reads++;
    return read();
  };
  return { clock, reads: () => reads, hardware: createHardware({ nodes: { get }, clock, log: silentLog }) };
}
const a100 = () => Promise.resolve(node({ 'nvidia.com/gpu.product': 'NVIDIA-A100' }));

describe('createHardware()', () => {
  it('is the product of the GPU, read once for all who ask', async () => {
    const { hardware, reads } = world(a100);
    const found = await Promise.all([hardware.of(GPU, 'gpu-1'), hardware.of(GPU, 'gpu-1')]);
    assert.deepEqual(found, ['NVIDIA-A100', 'NVIDIA-A100']);
    assert.equal(hardware.peek(GPU, 'gpu-1'), 'NVIDIA-A100');
    assert.equal(reads(), 1);
  });

  it('never waits when it only peeks, and knows the next time', async () => {
    const { hardware } = world(a100);
    assert.equal(hardware.peek(GPU, 'gpu-1'), 'nvidia.com/gpu');
    await settleTasks();
    assert.equal(hardware.peek(GPU, 'gpu-1'), 'NVIDIA-A100');
  });

  it('reads no node for a model without a GPU, or before there is a node', async () => {
    const { hardware, reads } = world(a100);
    assert.deepEqual(
      [
        await hardware.of(undefined, 'gpu-1'),
        await hardware.of(GPU, undefined),
        hardware.peek(GPU, undefined),
      ],
      ['None', 'nvidia.com/gpu', 'nvidia.com/gpu'],
    );
    assert.equal(reads(), 0);
  });

  const silent: Readonly<Record<string, () => Promise<KubeObject | undefined>>> = {
    'nodes may not be read': () =>
      Promise.reject(
        new ApiError({
          method: 'GET',
          path: '/api/v1/nodes/gpu-1',
          code: 403,
          reason: 'Forbidden',
          message: 'no',
        }),
      ),
    'the node is gone': () => Promise.resolve(undefined),
    'the node has no label': () => Promise.resolve(node()),
    'the label is empty': () => Promise.resolve(node({ 'nvidia.com/gpu.product': '' })),
  };
  for (const [when, read] of Object.entries(silent)) {
    it(`is the name of the resource when ${when}, and asks seldom`, async () => {
      const { hardware, reads, clock } = world(read);
      for (let count = 0; count < 5; count++) assert.equal(await hardware.of(GPU, 'gpu-1'), 'nvidia.com/gpu');
      assert.equal(reads(), 1);
      await clock.advance(600_000);
      await hardware.of(GPU, 'gpu-1');
      assert.equal(reads(), 2);
    });
  }

  it('notices after an hour that a node has another GPU', async () => {
    let product = 'NVIDIA-T4';
    const { hardware, clock } = world(() => Promise.resolve(node({ 'nvidia.com/gpu.product': product })));
    assert.equal(await hardware.of(GPU, 'gpu-1'), 'NVIDIA-T4');
    product = 'NVIDIA-H100';
    await clock.advance(3_600_000);
    assert.equal(await hardware.of(GPU, 'gpu-1'), 'NVIDIA-H100');
  });
});
