import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import process from 'node:process';

/*
 * Runs publish and kills itself in the moment in which staging is to be removed, as kubelet may: removing a large one
 * takes longer than the grace of a pod. The first argument tells where the container finds things.
 */
fs.rmSync = () => void process.kill(process.pid, 'SIGKILL');
syncBuiltinESMExports();

const { place, runStep } = await import('./program.ts'); // after the exchange, which it has to see
process.exitCode = await runStep('publish', place.parse(JSON.parse(process.argv[2] ?? '{}')));
