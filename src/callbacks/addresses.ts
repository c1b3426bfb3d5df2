import { lookup } from 'node:dns/promises';
import type { LookupFunction } from 'node:net';
import ipaddr from 'ipaddr.js';

/** Never an endpoint, whoever configured it: metadata services of clouds, and what is no host at all. */
const NEVER: ReadonlySet<string> = new Set([
  'linkLocal',
  'unspecified',
  'broadcast',
  'multicast',
  'reserved',
]);

/** An address that events must not be sent to. */
export class AddressError extends Error {
  override readonly name = 'AddressError';
}

/**
 * Resolves a host once and answers only addresses that were checked, so that what was checked is what is connected to:
 * a name that resolves otherwise a moment later changes nothing. Throws AddressError.
 */
export async function checkedAddresses(host: string, allowPrivate: boolean): Promise<readonly Address[]> {
  const bare = host.replace(/^\[|\]$/g, '');
  const found = ipaddr.isValid(bare)
    ? [{ address: bare }]
    : await lookup(bare, { all: true, verbatim: true });
  return found.map(({ address }) => checked(host, address, allowPrivate));
}

export interface Address {
  readonly address: string;
  readonly family: 4 | 6;
}

function checked(host: string, address: string, allowPrivate: boolean): Address {
  const parsed = ipaddr.process(address); // an IPv4 address inside an IPv6 one is the IPv4 address
  const range = parsed.range();
  if (NEVER.has(range) || (range !== 'unicast' && !allowPrivate)) {
    const fix = NEVER.has(range)
      ? 'name another host'
      : 'set allowPrivateAddresses if the receiver is inside the cluster';
    throw new AddressError(`${host} is at ${address}, a ${range} address: ${fix}`);
  }
  return { address: parsed.toString(), family: parsed.kind() === 'ipv6' ? 6 : 4 };
}

/** A look-up for a connector that knows these addresses and no others. */
export function pinned(addresses: readonly Address[]): LookupFunction {
  return (_host, { all }, callback) => {
    const [first] = addresses;
    if (!first) callback(new AddressError('the host has no address'), '', 0);
    else if (all) callback(null, [...addresses]);
    else callback(null, first.address, first.family);
  };
}
