import process from 'node:process';
import { writeOrCheck } from './gen/files.ts';
import { valuesSchemaFiles } from './gen/values-schema.ts';

await writeOrCheck('hack/gen-values-schema.ts', valuesSchemaFiles(), process.argv.slice(2));
