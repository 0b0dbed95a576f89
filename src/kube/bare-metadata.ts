import type { ObjectMeta } from '../api/meta.ts'

/** What says which object it is, which version of it, and that it is ending; of all the rest a cache keeps what its readers name. */
export const bareMetadata = ({ name, namespace, uid, resourceVersion, deletionTimestamp }: ObjectMeta): ObjectMeta => ({
  name,
  ...(namespace === undefined ? {} : { namespace }),
  ...(uid === undefined ? {} : { uid }),
  ...(resourceVersion === undefined ? {} : { resourceVersion }),
  ...(deletionTimestamp === undefined ? {} : { deletionTimestamp }),
})
