import { Argument, Command } from 'commander';
import { AGENT_STEPS, agentOptions, runAgent, type AgentStep } from '../../agent/index.ts';

/** `analysis-operator agent <step>`: what runs inside the pods of a task. */
export function agentCommand(done: (code: number) => void): Command {
  return new Command('agent')
    .description('A step inside the pod of a task; started by the controller, not by people')
    .addArgument(new Argument('<step>').choices(AGENT_STEPS))
    .action(async (step: AgentStep) => {
      const stop = new AbortController();
      process.once('SIGTERM', () => stop.abort(new Error('SIGTERM')));
      done(await runAgent(step, agentOptions(process.env, stop.signal)));
    });
}
