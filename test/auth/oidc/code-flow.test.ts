import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'tap'
import { readClientSecret } from '../../../src/auth/oidc/client-secret.ts'
import { createCodeFlow, type CodeFlowOptions } from '../../../src/auth/oidc/code-flow.ts'
import type { Issuer } from '../../../src/auth/oidc/issuer.ts'
import { temporaryFolder } from '../../support/temporary-folder.ts'
import { atIssuer, CALLBACK } from './browser.ts'
import { CLIENT_ID, issuerFor, tokensOf } from './issuers.ts'

const METADATA = { issuer: 'https://issuer.test', authorization_endpoint: 'https://issuer.test/authorize?tenant=a', token_endpoint: 'https://issuer.test/token' }
const flowWith = (metadata: object, options: Partial<CodeFlowOptions> = {}) =>
  createCodeFlow({ metadata: { ...METADATA, ...metadata }, fetch: async () => new Response() }, { clientId: CLIENT_ID, ...options })

await test('an issuer without a sign-in that can be used is refused at the start', async (t) => {
  const table: Record<string, { metadata?: object; options?: Partial<CodeFlowOptions>; message: RegExp }> = {
    'no page': { metadata: { authorization_endpoint: undefined }, message: /authorization_endpoint of the OIDC issuer must be a URL/ },
    'a page over plain http': { metadata: { authorization_endpoint: 'http://issuer.test/' }, message: /authorization_endpoint of the OIDC issuer must begin with https/ },
    'a page that is a script': { metadata: { authorization_endpoint: 'javascript:alert(1)' }, message: /must begin with https/ },
    'no exchange': { metadata: { token_endpoint: undefined }, message: /token_endpoint of the OIDC issuer must be a URL/ },
    'PKCE without S256': { metadata: { code_challenge_methods_supported: ['plain'] }, message: /not with S256/ },
    'scopes without openid': { options: { scope: 'profile' }, message: /must hold openid/ },
  }
  for (const [name, { metadata = {}, options, message }] of Object.entries(table)) t.throws(() => flowWith(metadata, options), { code: 'CONFIG_INVALID', message }, name)
})

await test('which scopes are asked for', async (t) => {
  const table: Record<string, { metadata?: object; options?: Partial<CodeFlowOptions>; is: string }> = {
    'an issuer that says nothing': { is: 'openid profile' },
    'one that knows groups': { metadata: { scopes_supported: ['openid', 'groups'] }, is: 'openid profile groups' },
    'as the setting says': { metadata: { scopes_supported: ['groups'] }, options: { scope: 'openid email' }, is: 'openid email' },
  }
  for (const [name, { metadata = {}, options, is }] of Object.entries(table)) {
    const { url } = await flowWith(metadata, options).begin(CALLBACK)
    t.strictSame([url.searchParams.get('scope'), url.searchParams.get('tenant')], [is, 'a'], name)
  }
})

await test('no two sign-ins share a secret', async (t) => {
  const flow = flowWith({})
  const begun = await Promise.all([flow.begin(CALLBACK), flow.begin(CALLBACK)])
  const secrets = begun.flatMap(({ secrets: { state, nonce, verifier } }) => [state, nonce, verifier])
  t.equal(new Set(secrets).size, 6)
  for (const { url, secrets: own } of begun) t.notOk(url.href.includes(own.verifier), 'the verifier stays here')
})

await test('a secret is sent in the way that the issuer takes', async (t) => {
  const issuer = await issuerFor(t, { clientSecret: 'a secret', redirectUris: [CALLBACK] })
  const { idTokens } = await tokensOf(t, issuer.url)
  const file = join(await temporaryFolder(t), 'secret')
  await writeFile(file, 'a secret\n')
  const table: Record<string, { methods: string[] | undefined; options: Partial<CodeFlowOptions>; is: object }> = {
    'it says nothing': { methods: undefined, options: { clientSecret: 'a secret' }, is: { ok: true } },
    'in the header': { methods: ['client_secret_basic'], options: { clientSecret: 'a secret' }, is: { ok: true } },
    'in the form': { methods: ['client_secret_post'], options: { clientSecret: 'a secret' }, is: { ok: true } },
    'from a file': { methods: undefined, options: { clientSecretFile: file }, is: { ok: true } },
    'a file that is not there': { methods: undefined, options: { clientSecretFile: `${file}-not` }, is: { ok: false, failure: 'misconfigured', why: /secret cannot be read/ } },
    'a wrong one': { methods: undefined, options: { clientSecret: 'another' }, is: { ok: false, failure: 'misconfigured' } },
    'none': { methods: undefined, options: {}, is: { ok: false, failure: 'misconfigured' } },
  }
  for (const [name, { methods, options, is }] of Object.entries(table)) {
    const { token_endpoint_auth_methods_supported: _offered, ...metadata } = idTokens.issuer.metadata
    const offered: Issuer['metadata'] = methods === undefined ? metadata : { ...metadata, token_endpoint_auth_methods_supported: methods }
    const flow = createCodeFlow({ metadata: offered, fetch: idTokens.issuer.fetch }, { clientId: CLIENT_ID, allowHttpLoopback: true, ...options })
    const { url, secrets } = await flow.begin(CALLBACK)
    const back = await atIssuer(url.href, { user: 'alice' })
    t.match(await flow.exchange(new URL(back, CALLBACK), secrets), is, name)
  }
})

await test('where the secret of the client is', async (t) => {
  const file = join(await temporaryFolder(t), 'secret')
  t.equal(await readClientSecret({}), undefined, 'a public client has none')
  t.equal(await readClientSecret({ clientSecret: 'x' }), 'x')
  await t.rejects(readClientSecret({ clientSecret: 'x', clientSecretFile: file }), { code: 'CONFIG_INVALID', message: /not both/ })
  await t.rejects(readClientSecret({ clientSecretFile: file }), { code: 'CONFIG_INVALID', message: /cannot be read/ })
  for (const [content, is] of [
    [' a b \n', ' a b '],
    ['a\r\n', 'a'],
    ['a', 'a'],
  ] as const) {
    await writeFile(file, content)
    t.equal(await readClientSecret({ clientSecretFile: file }), is)
  }
  await writeFile(file, '\n')
  await t.rejects(readClientSecret({ clientSecretFile: file }), { code: 'CONFIG_INVALID', message: /is empty/ })
})
