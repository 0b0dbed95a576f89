/** The part of the approval controller, which the sandbox does not run: its definition, and its account, which alone may write the status of ApprovalTasks. */
import { fileURLToPath } from 'node:url'
import { serviceAccountUser } from '../../src/api/names.ts'
import { waitFor, type ClusterAccess } from '../control-plane/cluster-access.ts'

const NAMESPACE = 'tekton-pipelines'
const SERVICE_ACCOUNT = 'manual-approval-gate-controller'
/** Longer than any run of the sandbox. */
const TOKEN_SECONDS = 24 * 60 * 60

/** As the API server names the account; for `kubectl --as`. */
export const APPROVAL_CONTROLLER = serviceAccountUser(NAMESPACE, SERVICE_ACCOUNT)

const OBJECTS = fileURLToPath(new URL('approval-project.yaml', import.meta.url))

const UP_WITHIN_MS = 120_000

/** Applies the stand-in and waits until ApprovalTasks are served, and the account has its rights. Harmless when it is there already. */
export const applyApprovalProject = async (cluster: ClusterAccess): Promise<void> => {
  await cluster.kubectl(['apply', '--server-side', '--force-conflicts', '-f', OBJECTS])
  await cluster.kubectl(['wait', '--for=condition=Established', '--timeout=60s', 'crd/approvaltasks.openshift-pipelines.org'])
  const mayWrite = ['auth', 'can-i', 'patch', 'approvaltasks.openshift-pipelines.org', '--subresource=status', '-A', `--as=${APPROVAL_CONTROLLER}`]
  await waitFor('the right of the approval controller', UP_WITHIN_MS, async () => (await cluster.kubectl(mayWrite, { allowFailure: true })).code === 0)
}

/** A token of the approval controller's own account. The stand-in must be applied. */
export const approvalControllerToken = (cluster: ClusterAccess): Promise<string> => cluster.serviceAccountToken(NAMESPACE, SERVICE_ACCOUNT, { seconds: TOKEN_SECONDS })
