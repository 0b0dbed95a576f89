import { SERVICE_ACCOUNT, serviceAccountUser } from '../src/api/names.ts'
import { STATUS_WRITER_MESSAGE } from '../src/core/request-rules.ts'
import { ALLOWED, forbidden } from './answer.ts'
import { REQUEST_RESOURCE, type Hook } from './hook.ts'

/** Only the controller says how far a request has come. */
export const validateAccessRequestStatus = (systemNamespace: string): Hook => {
  const controller = serviceAccountUser(systemNamespace, SERVICE_ACCOUNT.controller)
  return {
    path: '/validate/access-request-status',
    name: 'validate-access-request-status',
    resource: REQUEST_RESOURCE,
    answer: ({ userInfo }) => (userInfo.username === controller ? ALLOWED : forbidden(STATUS_WRITER_MESSAGE)),
  }
}
