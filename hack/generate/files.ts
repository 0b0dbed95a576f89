import { readFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { stringify } from 'yaml'
import { admissionPolicy, GRANT_NAMES, REQUEST_NAMESPACE, REQUEST_STATUS } from './admission-policies.ts'
import { APPROVAL_INPUTS, APPROVAL_STATUS } from './approval-policies.ts'
import { ACCESS_POLICY, ACCESS_REQUEST, CONNECTOR, CONNECTOR_CLASS, customResourceDefinition, WORKSPACE, WORKSPACE_ACCESS_STRATEGY } from './crds.ts'
import { wireDescriptors } from './wire-descriptors.ts'
import { errorCode } from '../../src/errors.ts'

/** A generated file: its path below the checkout, and what it must hold. */
export interface GeneratedFile {
  path: string
  content: string
}

const file = (path: string, comments: string[], documents: object[]): GeneratedFile => ({
  path,
  content: [
    ...['Generated from src/ by "npm run generate"; do not edit.', ...comments].map((line) => `${`# ${line}`.trimEnd()}\n`),
    documents.map((document) => stringify(document, { lineWidth: 0, aliasDuplicateObjects: false })).join('---\n'),
  ].join(''),
})

/** What kubelet and the CSI plugin speak, in this checkout. */
const WIRE = 'src/csi/wire'
const protoFile = (name: string): string => readFileSync(join(import.meta.dirname, '../..', WIRE, name), 'utf8')

/** All generated files, in the order of their paths. */
export const generatedFiles = (): GeneratedFile[] => [
  file('manifests/base/200-crd-access-policy.yaml', [], [customResourceDefinition(ACCESS_POLICY)]),
  file('manifests/base/200-crd-access-request.yaml', [], [customResourceDefinition(ACCESS_REQUEST)]),
  file(
    'manifests/base/400-policy-approval-inputs.yaml',
    [
      'Whose approval counts is read from the status, which the approval controller makes from spec.approvers. Its own webhook lets one',
      'approver add others with their inputs given, or lower the number of approvals that it takes; this policy does not. It also keeps',
      'the status out of reach where the definition of ApprovalTasks has no status subresource, and the labels of a task that has a state',
      'as they are. Harmless where there are no ApprovalTasks; updates of other metadata pass unasked.',
    ],
    admissionPolicy(APPROVAL_INPUTS),
  ),
  file(
    'manifests/base/400-policy-approval-status.yaml',
    [
      'The approval controller alone says that an ApprovalTask is approved: the stock RBAC of its project lets every authenticated user do it.',
      'A cluster administrator is refused too; he can impersonate the account, which the audit log shows. Harmless where there are no ApprovalTasks.',
      '',
      'The variable "writers" says who it is: the account of a stock installation on Kubernetes. On OpenShift it is',
      '  system:serviceaccount:openshift-pipelines:manual-approval-gate-controller',
      'Change it by a patch in an overlay or on the cluster; several users are a list of several. Name only accounts that exist: whoever can',
      'make one that is named here can approve everything. Apply server-side, and an upgrade does not undo what someone has written here:',
      'it reports a conflict. A patch in an overlay has none.',
    ],
    admissionPolicy(APPROVAL_STATUS),
  ),
  file(
    'manifests/base/400-policy-grant-names.yaml',
    [
      'The API server takes a RoleBinding to a Role that is gone meanwhile, so a binding could lie in wait for the Role of a grant and share in it.',
      'It also lets a binding be changed while its Role has no rules, and honours what waits for a finalizer before it is gone.',
      'Deleting is left to whoever may, and so are other changes: they only take access away, until the controller puts them right.',
    ],
    admissionPolicy(GRANT_NAMES),
  ),
  file(
    'manifests/base/400-policy-request-namespace.yaml',
    [
      'A request reaches only a Connector beside it, also while the webhook is down or its configuration is gone.',
      'CRD rules cannot see metadata.namespace; this policy can. Updates that leave the spec alone (finalizers, labels) pass unasked.',
    ],
    admissionPolicy(REQUEST_NAMESPACE),
  ),
  file(
    'manifests/base/400-policy-request-status.yaml',
    [
      'The controller alone writes the status of a request; a cluster administrator is refused too, because a status is a record and not a switch.',
      'Updates of the status subresource are the only way to it: the API server drops a status from a create and from an update of the object itself.',
    ],
    admissionPolicy(REQUEST_STATUS),
  ),
  file('manifests/connectors-crds/200-crd-connector.yaml', [], [customResourceDefinition(CONNECTOR)]),
  file('manifests/connectors-crds/200-crd-connector-class.yaml', [], [customResourceDefinition(CONNECTOR_CLASS)]),
  file('manifests/workspace-crds/200-crd-workspace.yaml', [], [customResourceDefinition(WORKSPACE)]),
  file('manifests/workspace-crds/200-crd-workspace-access-strategy.yaml', [], [customResourceDefinition(WORKSPACE_ACCESS_STRATEGY)]),
  { path: `${WIRE}/descriptors.ts`, content: wireDescriptors(['csi.proto', 'registration.proto'].map(protoFile)) },
]

const contentOf = async (path: string): Promise<string | undefined> => {
  try {
    return await readFile(path, 'utf8')
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return undefined
    throw error
  }
}

/** The files below `root` that are missing or hold something else. */
export const staleFiles = async (root: string, files: readonly GeneratedFile[]): Promise<GeneratedFile[]> => {
  const stale = await Promise.all(files.map(async ({ path, content }) => (await contentOf(join(root, path))) !== content))
  return files.filter((_, index) => stale[index])
}
