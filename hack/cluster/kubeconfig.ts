import { readFile, writeFile } from 'node:fs/promises';
import { stringify } from 'yaml';
import { certFile, keyFile } from './pki.ts';

/** Who a kubeconfig speaks as, and to which server. */
export type KubeconfigOptions = {
  readonly server: string;
  readonly pkiDir: string;
  /** Name of the client certificate in `pkiDir`. */
  readonly cert: string;
  readonly context: string;
};

/** Writes a self-contained kubeconfig (certificates inside), readable by its owner only. */
export async function writeKubeconfig(file: string, options: KubeconfigOptions): Promise<void> {
  const { context, pkiDir, cert } = options;
  const config = {
    apiVersion: 'v1',
    kind: 'Config',
    'current-context': context,
    contexts: [{ name: context, context: { cluster: context, user: cert } }],
    clusters: [
      {
        name: context,
        cluster: {
          server: options.server,
          'certificate-authority-data': await base64(certFile(pkiDir, 'ca')),
        },
      },
    ],
    users: [
      {
        name: cert,
        user: {
          'client-certificate-data': await base64(certFile(pkiDir, cert)),
          'client-key-data': await base64(keyFile(pkiDir, cert)),
        },
      },
    ],
  };
  await writeFile(file, stringify(config, { lineWidth: 0 }), { mode: 0o600 });
}

async function base64(path: string): Promise<string> {
  return (await readFile(path)).toString('base64');
}
