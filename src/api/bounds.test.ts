import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import type { z } from 'zod';
import { KINDS, sections } from '../../hack/gen/crd.ts';
import { boundRows } from '../../test/support/bounds.ts';
import { withValue } from '../../test/support/mutate.ts';
import { readSample } from '../../test/support/samples.ts';

/** Bounds that only the server knows: zod has no unique lists and no size of maps. */
const SERVER_ONLY = ['x-kubernetes-list-type', 'maxProperties'];

for (const source of KINDS)
  for (const part of ['spec', 'status'] as const)
    describe(`zod's ${source.kind}.${part}`, () => {
      const sample = readSample(source.kind.toLowerCase());
      const schema: z.ZodType = source[part];
      const rows = boundRows(sections(source)[part], sample[part], part);

      it('accepts the sample that uses every field', () => {
        assert.ok(schema.safeParse(sample[part]).success);
      });

      it('refuses and accepts what the CRD refuses and accepts', () => {
        assert.ok(rows.length > 20, `${rows.length} rows`);
        for (const { path, value, field, bound, message } of rows) {
          if (SERVER_ONLY.includes(bound)) continue;
          const changed = withValue(sample, path, value);
          assert.equal(schema.safeParse(changed[part]).success, message === undefined, `${field}: ${bound}`);
        }
      });
    });
