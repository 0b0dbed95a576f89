/** The CA of our own making, where the API server looks for it when it passes requests on to us. */
import type { ApiService } from '../api/api-service.ts'
import type { Reader, Writer } from '../kube/ports.ts'
import { API_SERVICES } from '../kube/resources.ts'
import { caTarget, type CaTarget } from '../serving/ca-trust.ts'

const carries = ({ spec }: ApiService, caBundle: string): boolean => spec?.caBundle === caBundle && spec.insecureSkipTLSVerify !== true

const withBundle = (service: ApiService, caBundle: string): ApiService => {
  const { insecureSkipTLSVerify: _excluded, ...spec } = service.spec ?? {}
  return { ...service, spec: { ...spec, caBundle } }
}

/** @param names of the APIServices */
export const apiServiceTargets = (kube: { reader: Reader; writer: Writer }, names: readonly string[]): CaTarget[] =>
  names.map((name) => caTarget(kube, { resource: API_SERVICES, name, carries, withBundle }))
