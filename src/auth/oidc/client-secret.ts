import { readFile } from 'node:fs/promises'
import { CodedError, messageOf } from '../../errors.ts'

/** How this program proves to the issuer who it is: by nothing (a public client, PKCE alone), or a secret that both know. */
export interface ClientSecretOptions {
  clientSecret?: string
  /** Read again for every sign-in, so that a new secret needs no restart. A line end after it is none of it. */
  clientSecretFile?: string
}

/** @returns undefined for a public client. @throws CodedError CONFIG_INVALID; the message never quotes the secret */
export const readClientSecret = async ({ clientSecret, clientSecretFile }: ClientSecretOptions): Promise<string | undefined> => {
  if (clientSecret !== undefined && clientSecretFile !== undefined)
    throw new CodedError('CONFIG_INVALID', 'give either OIDC_CLIENT_SECRET or OIDC_CLIENT_SECRET_FILE, not both')
  if (clientSecretFile === undefined) return clientSecret
  let text: string
  try {
    text = await readFile(clientSecretFile, 'utf8')
  } catch (error) {
    throw new CodedError('CONFIG_INVALID', `the file with the OIDC client secret cannot be read: ${messageOf(error)}`, { cause: error })
  }
  const secret = text.replace(/\r?\n$/, '')
  if (secret === '') throw new CodedError('CONFIG_INVALID', `the file with the OIDC client secret, ${clientSecretFile}, is empty`)
  return secret
}
