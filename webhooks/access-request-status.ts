import { SERVICE_ACCOUNT, serviceAccountUser } from '../src/api/names.ts'
import { problemText } from '../src/core/problem.ts'
import { STATUS_WRITER_MESSAGE } from '../src/core/request-rules.ts'
import { ALLOWED, forbidden } from './answer.ts'
import { REQUEST_RESOURCE, type Hook } from './hook.ts'

/** Only the controller says how far a request has come. */
export const validateAccessRequestStatus = (systemNamespace: string): Hook => {
  const controller = serviceAccountUser(systemNamespace, SERVICE_ACCOUNT.controller)
  const refused = forbidden(problemText({ path: 'status', message: STATUS_WRITER_MESSAGE }))
  return {
    path: '/validate/access-request-status',
    name: 'validate-access-request-status',
    resource: REQUEST_RESOURCE,
    answer: ({ userInfo }) => (userInfo.username === controller ? ALLOWED : refused),
  }
}
