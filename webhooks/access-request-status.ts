import { SERVICE_ACCOUNT, serviceAccountUser, SYSTEM_NAMESPACE } from '../src/api/names.ts'
import { problemText } from '../src/core/problem.ts'
import { STATUS_WRITER_MESSAGE } from '../src/core/request-rules.ts'
import { ALLOWED, forbidden } from './answer.ts'
import { REQUEST_RESOURCE, type Hook } from './hook.ts'

const CONTROLLER = serviceAccountUser(SYSTEM_NAMESPACE, SERVICE_ACCOUNT.controller)
const REFUSED = forbidden(problemText({ path: 'status', message: STATUS_WRITER_MESSAGE }))

/** Only the controller says how far a request has come. */
export const validateAccessRequestStatus: Hook = {
  path: '/validate/access-request-status',
  name: 'validate-access-request-status',
  resource: REQUEST_RESOURCE,
  answer: ({ userInfo }) => (userInfo.username === CONTROLLER ? ALLOWED : REFUSED),
}
