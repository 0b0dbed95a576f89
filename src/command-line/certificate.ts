/** Options of the roles that serve with TLS. */
import type { Command } from 'commander'
import { CodedError } from '../errors.ts'
import type { CertificateOptions } from '../serving/options.ts'

export interface CertificateFlags {
  tlsCertFile?: string
  tlsKeyFile?: string
  selfSigned?: true
}

/** @param caBundle where the API server is told of a certificate authority of our own making */
export const addCertificateOptions = (command: Command, caBundle: string): Command =>
  command
    .option('--tls-cert-file <file>', 'serving certificate (PEM), read again when it changes')
    .option('--tls-key-file <file>', 'its private key (PEM)')
    .option('--self-signed', `make the certificate, share it in a Secret and keep the caBundle of ${caBundle}`)

/**
 * @param what the role, for the message
 * @param own what --self-signed means
 * @throws CodedError CONFIG_INVALID unless exactly one source is given
 */
export const certificateOptions = ({ tlsCertFile: certFile, tlsKeyFile: keyFile, selfSigned }: CertificateFlags, what: string, own: CertificateOptions): CertificateOptions => {
  if (selfSigned === true) {
    if (certFile === undefined && keyFile === undefined) return own
    throw new CodedError('CONFIG_INVALID', 'give either --self-signed or --tls-cert-file with --tls-key-file, not both')
  }
  if (certFile === undefined || keyFile === undefined)
    throw new CodedError('CONFIG_INVALID', `the ${what} needs a certificate: give --tls-cert-file and --tls-key-file, or --self-signed`)
  return { kind: 'files', certFile, keyFile }
}
