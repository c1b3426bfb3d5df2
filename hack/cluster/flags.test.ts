import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { apiserverArgs, etcdArgs, renderFlags, type ControlPlaneLayout } from './flags.ts';

const layout: ControlPlaneLayout = {
  dir: '/c',
  pki: '/c/pki',
  address: '192.0.2.2',
  bindAddress: '0.0.0.0',
  serviceCidr: '10.96.0.0/16',
  ports: { apiserver: 6443, etcd: 2379, etcdPeer: 2380, controllerManager: 10257, scheduler: 10259 },
};

describe('flags', () => {
  it('renders texts, numbers, switches and lists, and leaves out what is undefined', () => {
    const flags = { a: 'x', b: 1, c: false, d: ['y', 'z'], e: undefined };
    assert.deepEqual(renderFlags(flags), ['--a=x', '--b=1', '--c=false', '--d=y,z']);
  });

  it('keeps etcd on loopback', () => {
    const urls = etcdArgs(layout).filter((arg) => arg.includes('-urls='));
    assert.ok(urls.length > 0);
    for (const arg of urls) assert.match(arg, /=http:\/\/127\.0\.0\.1:/);
  });

  it('lets extra API server flags win over the built-in ones', () => {
    const args = apiserverArgs(layout, { 'allow-privileged': false, 'max-requests-inflight': 10 });
    assert.deepEqual(
      args.filter((arg) => arg.startsWith('--allow-privileged')),
      ['--allow-privileged=false'],
    );
    assert.ok(args.includes('--max-requests-inflight=10'));
  });

  it('writes an audit log only with a policy', () => {
    const logs = (given: ControlPlaneLayout): boolean =>
      apiserverArgs(given).some((arg) => arg.startsWith('--audit-log-path'));
    assert.equal(logs(layout), false);
    assert.equal(logs({ ...layout, auditPolicyFile: '/c/policy.yaml' }), true);
  });
});
