/** How often the API server admitted a Pod without what our hook says, because no answer came in time, by its own count. */
import { readAnswer } from '../../hack/control-plane/api-call.ts'
import type { ClusterAccess } from '../../hack/control-plane/cluster-access.ts'

const FAILED_OPEN = 'apiserver_admission_webhook_fail_open_count{name="pod.connectors.alauda.io",type="validating"} '

/** The API server counts nothing before the first. */
export const callsGivenUp = async (cluster: Pick<ClusterAccess, 'call'>): Promise<number> => {
  const metrics = readAnswer(await cluster.call('GET', '/metrics'), 'metrics of the API server')
  const line = metrics.split('\n').find((one) => one.startsWith(FAILED_OPEN))
  return line === undefined ? 0 : Number(line.slice(FAILED_OPEN.length))
}
