import process from 'node:process';
import { crdFiles } from './gen/crd-files.ts';
import { writeOrCheck } from './gen/files.ts';

await writeOrCheck('hack/gen-crds.ts', crdFiles(), process.argv.slice(2));
