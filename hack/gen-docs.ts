import process from 'node:process';
import { writeOrCheck } from './gen/files.ts';
import { referenceFiles } from './gen/reference.ts';

await writeOrCheck('hack/gen-docs.ts', await referenceFiles(), process.argv.slice(2));
