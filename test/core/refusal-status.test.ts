import { test } from 'tap'
import { refusalJson, type Refusal } from '../../src/core/refusal-status.ts'

const harbor: Refusal = {
  connector: { namespace: 'shared', name: 'harbor' },
  request: 'shared/harbor-build-1',
  reason: 'AccessRejected',
  message: 'access to Connector shared/harbor was rejected: ApprovalTask cicd/deploy "prod" was rejected',
}

const INFO = { '@type': 'type.googleapis.com/google.rpc.ErrorInfo', domain: 'connectors.alauda.io' }

await test('one refusal is a google.rpc.Status with one ErrorInfo', async (t) => {
  t.strictSame(JSON.parse(refusalJson([harbor])), {
    code: 7,
    message: harbor.message,
    details: [{ ...INFO, reason: 'AccessRejected', metadata: { connector: 'shared/harbor', accessRequest: 'shared/harbor-build-1' } }],
  })
})

await test('the text is one line, the same one for the same refusals', async (t) => {
  const text = refusalJson([{ ...harbor, message: 'no\nand\tno' }])
  t.match(text, /^\{[^\n]*\}\n$/)
  t.equal(refusalJson([{ ...harbor, message: 'no\nand\tno' }]), text)
})

await test('several refusals, one of them without a request', async (t) => {
  const git: Refusal = { connector: { namespace: 'cicd', name: 'git' }, request: undefined, reason: 'AccessRevoked', message: 'access to Connector cicd/git was revoked: it is gone' }
  t.strictSame(JSON.parse(refusalJson([harbor, git])), {
    code: 7,
    message: `${harbor.message}; ${git.message}`,
    details: [
      { ...INFO, reason: 'AccessRejected', metadata: { connector: 'shared/harbor', accessRequest: 'shared/harbor-build-1' } },
      { ...INFO, reason: 'AccessRevoked', metadata: { connector: 'cicd/git' } },
    ],
  })
})
