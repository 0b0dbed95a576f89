import { test } from 'tap'
import { tokenIssuer } from '../../src/kube/token-issuer.ts'
import { answer, scriptedServer } from '../support/scripted-server.ts'

const question = { serviceAccount: { namespace: 'cicd', name: 'builder' }, pod: { name: 'build-1', uid: 'uid-1' }, audience: 'connectors-proxy', seconds: 3600 }
const EXPIRES = '2030-01-01T00:00:00Z'

await test('a token is asked for by a TokenRequest that is bound to the Pod', async (t) => {
  const server = await scriptedServer(t, (_seen, response) => answer(response, 201, { status: { token: 'made', expirationTimestamp: EXPIRES } }))
  t.strictSame(await tokenIssuer(server.client()).issueToken(question), { token: 'made', expirationTimestamp: EXPIRES })
  t.match(server.seen, [{ method: 'POST', url: '/api/v1/namespaces/cicd/serviceaccounts/builder/token' }])
  t.strictSame(JSON.parse(server.seen[0]?.body ?? ''), {
    apiVersion: 'authentication.k8s.io/v1',
    kind: 'TokenRequest',
    spec: { audiences: ['connectors-proxy'], expirationSeconds: 3600, boundObjectRef: { apiVersion: 'v1', kind: 'Pod', name: 'build-1', uid: 'uid-1' } },
  })
})

await test('an answer without a token is an error that quotes none of it', async (t) => {
  const answers = { 'no status': {}, 'no token': { status: { expirationTimestamp: EXPIRES } }, 'an empty one': { status: { token: '', expirationTimestamp: EXPIRES } }, 'no time': { status: { token: 'made' } } }
  let current: unknown
  const server = await scriptedServer(t, (_seen, response) => answer(response, 201, current))
  for (const [what, one] of Object.entries(answers)) {
    current = one
    await t.rejects(
      tokenIssuer(server.client()).issueToken(question),
      { code: 'KUBE_UNAVAILABLE', message: 'the answer of the API server to the request for a token of ServiceAccount cicd/builder holds none' },
      what,
    )
  }
})

await test('a Pod that is another one by now', async (t) => {
  const server = await scriptedServer(t, (_seen, response) => answer(response, 409, { kind: 'Status', message: 'the UID in the bound object reference does not match' }))
  await t.rejects(tokenIssuer(server.client()).issueToken(question), { code: 'KUBE_CONFLICT', message: 'the UID in the bound object reference does not match' })
})
