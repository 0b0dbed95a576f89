import { Type } from 'typebox'
import { AnyKey } from '../api/meta.ts'

const text = (description: string) => Type.Optional(Type.String({ description }))
const texts = (description: string) => Type.Optional(Type.Record(AnyKey, Type.String(), { description }))
const whatever = (description: string) => Type.Optional(Type.Array(Type.Unknown(), { description }))

/** What of an object's metadata is answered as it was sent. */
const echoed = {
  name: text('Name of the object; none is needed, as nothing is stored.'),
  generateName: text('Prefix of a name; it is answered as it was sent.'),
  namespace: text('Namespace of the object: the one of the URL, or left out.'),
  labels: texts('Labels; they are answered as they were sent.'),
  annotations: texts('Annotations; they are answered as they were sent.'),
}

/** As `kubectl explain` shows it. */
export const DocumentedMetaSchema = Type.Object(echoed, { description: 'Standard metadata of an object; nothing of it is stored.' })

/** metav1.ObjectMeta, for decoding. */
export const ObjectMetaSchema = Type.Object({
  ...echoed,
  selfLink: text('Not used.'),
  uid: text('Not used.'),
  resourceVersion: text('Not used.'),
  generation: Type.Optional(Type.Integer({ description: 'Not used.' })),
  creationTimestamp: text('Not used.'),
  deletionTimestamp: text('Not used.'),
  deletionGracePeriodSeconds: Type.Optional(Type.Integer({ description: 'Not used.' })),
  ownerReferences: whatever('Not used.'),
  finalizers: Type.Optional(Type.Array(Type.String(), { description: 'Not used.' })),
  managedFields: whatever('Not used.'),
})
