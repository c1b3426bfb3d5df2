import process from 'node:process';
import { writeOrCheck } from './gen/files.ts';
import { modelCoverage } from './gen/model-coverage.ts';
import { referenceFiles } from './gen/reference.ts';

const files = { ...(await referenceFiles()), ...(await modelCoverage()) };
await writeOrCheck('hack/gen-docs.ts', files, process.argv.slice(2));
