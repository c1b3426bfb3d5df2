import { X509Certificate, createPrivateKey, createPublicKey } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { run } from './exec.ts';

/** A certificate to have: `groups` become O=, `sans` are `IP:..` or `DNS:..` entries and make it a server certificate too. */
export type CertRequest = {
  readonly name: string;
  readonly ca: string;
  readonly commonName: string;
  readonly groups?: readonly string[];
  readonly sans?: readonly string[];
};

const DAYS = 365;
const RENEW_BEFORE_MS = 7 * 24 * 3_600_000;

/** Paths of a certificate and its key. */
export const certFile = (dir: string, name: string): string => join(dir, `${name}.crt`);
export const keyFile = (dir: string, name: string): string => join(dir, `${name}.key`);

/** Makes sure a CA exists and is valid for a week more; a new CA invalidates what it signed. */
export async function ensureCa(dir: string, name: string): Promise<void> {
  await mkdir(dir, { recursive: true, mode: 0o700 });
  if (await isValid(dir, { name, ca: name, commonName: name })) return;
  await newKey(keyFile(dir, name));
  const args = [
    'req',
    '-x509',
    '-new',
    '-key',
    keyFile(dir, name),
    '-subj',
    `/CN=${name}`,
    '-days',
    String(DAYS * 10),
  ];
  const extensions = [
    '-addext',
    'basicConstraints=critical,CA:TRUE',
    '-addext',
    'keyUsage=critical,keyCertSign,digitalSignature,cRLSign',
  ];
  await run('openssl', [...args, ...extensions, '-out', certFile(dir, name)]);
}

/** Makes sure a certificate exists that its CA signed, covers all `sans` and is valid for a week more. */
export async function ensureCert(dir: string, request: CertRequest): Promise<void> {
  if (await isValid(dir, request)) return;
  await newKey(keyFile(dir, request.name));
  const csr = join(dir, `${request.name}.csr`);
  const extensions = join(dir, `${request.name}.ext`);
  const groups = (request.groups ?? []).map((group) => `/O=${group}`).join('');
  await run('openssl', [
    'req',
    '-new',
    '-key',
    keyFile(dir, request.name),
    '-subj',
    `${groups}/CN=${request.commonName}`,
    '-out',
    csr,
  ]);
  await writeFile(extensions, renderExtensions(request));
  const ca = ['-CA', certFile(dir, request.ca), '-CAkey', keyFile(dir, request.ca), '-CAcreateserial'];
  const args = ['x509', '-req', '-in', csr, ...ca, '-days', String(DAYS), '-extfile', extensions];
  await run('openssl', [...args, '-out', certFile(dir, request.name)]);
  await Promise.all([rm(csr), rm(extensions)]);
}

/** The OpenSSL extension file of a request. */
export function renderExtensions(request: CertRequest): string {
  const sans = request.sans ?? [];
  const usage = sans.length > 0 ? 'serverAuth,clientAuth' : 'clientAuth';
  return [
    'basicConstraints=CA:FALSE',
    'keyUsage=critical,digitalSignature',
    `extendedKeyUsage=${usage}`,
    ...(sans.length > 0 ? [`subjectAltName=${sans.join(',')}`] : []),
    '',
  ].join('\n');
}

/** Makes sure the key pair that signs service account tokens exists. */
export async function ensureServiceAccountKey(dir: string): Promise<void> {
  const file = keyFile(dir, 'service-account');
  if (!existsSync(file)) await newKey(file);
  const publicKey = createPublicKey(createPrivateKey(await readFile(file, 'utf8')));
  await writeFile(join(dir, 'service-account.pub'), publicKey.export({ type: 'spki', format: 'pem' }));
}

async function newKey(file: string): Promise<void> {
  await run('openssl', ['genpkey', '-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-256', '-out', file]);
}

async function isValid(dir: string, request: CertRequest): Promise<boolean> {
  const files = [certFile(dir, request.name), keyFile(dir, request.name), certFile(dir, request.ca)];
  if (!files.every((file) => existsSync(file))) return false;
  const cert = new X509Certificate(await readFile(certFile(dir, request.name)));
  const ca = new X509Certificate(await readFile(certFile(dir, request.ca)));
  return (
    Date.parse(cert.validTo) - Date.now() > RENEW_BEFORE_MS &&
    cert.verify(ca.publicKey) &&
    (request.sans ?? []).every((san) => covers(cert, san))
  );
}

function covers(cert: X509Certificate, san: string): boolean {
  const value = san.slice(san.indexOf(':') + 1);
  return san.startsWith('IP:') ? cert.checkIP(value) !== undefined : cert.checkHost(value) !== undefined;
}
