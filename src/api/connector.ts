import { Type, type Static } from 'typebox'
import { AnyKey, ConditionSchema, type KubeObject } from './meta.ts'

const NameValue = Type.Object(
  { name: Type.String({ description: 'The name.' }), value: Type.String({ description: 'The value.' }) },
  { description: 'A named value.' },
)

export const ConnectorSpecSchema = Type.Object(
  {
    connectorClassName: Type.String({ description: 'The ConnectorClass that says how the tool is reached.' }),
    address: Type.String({ description: 'http or https address of the tool.' }),
    addressExtensions: Type.Optional(Type.Array(NameValue, { description: 'Further addresses that credentials are injected for.' })),
    auth: Type.Optional(
      Type.Object(
        {
          name: Type.String({ description: 'The authentication type of the class.' }),
          secretRef: Type.Optional(
            Type.Object(
              {
                name: Type.String({ description: 'Name of the Secret.' }),
                namespace: Type.Optional(Type.String({ description: 'Namespace of the Secret.' })),
              },
              { description: 'The Secret with the credentials. Never shown to a workload.' },
            ),
          ),
          params: Type.Optional(Type.Array(NameValue, { description: 'Parameters of the authentication.' })),
        },
        { description: 'How the tool is authenticated to.' },
      ),
    ),
    params: Type.Optional(Type.Array(NameValue, { description: 'Parameters for the configuration templates of the class.' })),
    caCertSecretRef: Type.Optional(
      Type.Object({ name: Type.String({ description: 'Name of the Secret.' }) }, { description: 'The Secret with the CA of the tool.' }),
    ),
  },
  { description: 'How one tool is reached.' },
)

export const ConnectorStatusSchema = Type.Object(
  {
    proxy: Type.Optional(
      Type.Object(
        {
          httpAddress: Type.Optional(
            Type.Object(
              {
                url: Type.Optional(Type.String({ description: 'Address of the proxy.' })),
                name: Type.Optional(Type.String({ description: 'Name of the address.' })),
                CACerts: Type.Optional(Type.String({ description: 'CA certificates of the proxy, base64.' })),
                audience: Type.Optional(Type.String({ description: 'Audience of the tokens that the proxy takes.' })),
              },
              { description: 'Where the proxy answers.' },
            ),
          ),
        },
        { description: 'The proxy of this Connector.' },
      ),
    ),
    api: Type.Optional(Type.Object({ path: Type.Optional(Type.String({ description: 'Path of the API of this Connector.' })) }, { description: 'The API of this Connector.' })),
    conditions: Type.Optional(Type.Array(ConditionSchema, { description: 'The state of the Connector. Not an approval criterion.' })),
  },
  { description: 'What is known of the Connector.', 'x-kubernetes-preserve-unknown-fields': true },
)

export interface Connector extends KubeObject {
  spec?: Static<typeof ConnectorSpecSchema>
  status?: Static<typeof ConnectorStatusSchema>
}

export const ConnectorClassSpecSchema = Type.Object(
  {
    proxy: Type.Optional(
      Type.Object(
        {
          uri: Type.Optional(Type.String({ description: 'Address of the proxy.' })),
          ref: Type.Optional(
            Type.Object(
              {
                kind: Type.Optional(Type.String({ description: 'Service.' })),
                name: Type.String({ description: 'Name of the Service.' }),
                namespace: Type.Optional(Type.String({ description: 'Namespace of the Service.' })),
              },
              { description: 'The Service of the proxy.' },
            ),
          ),
        },
        { description: 'The proxy of the Connectors of this class.', 'x-kubernetes-preserve-unknown-fields': true },
      ),
    ),
    configurations: Type.Optional(
      Type.Array(
        Type.Object(
          {
            name: Type.String({ description: 'Name of the configuration.' }),
            data: Type.Optional(Type.Record(AnyKey, Type.String(), { description: 'File name to template.' })),
            params: Type.Optional(
              Type.Array(
                Type.Object(
                  { name: Type.String({ description: 'Name of the parameter.' }), default: Type.Optional(Type.String({ description: 'Default; without it the parameter is required.' })) },
                  { description: 'A parameter.', 'x-kubernetes-preserve-unknown-fields': true },
                ),
                { description: 'Parameters of the templates.' },
              ),
            ),
          },
          { description: 'Files that a volume can hold.' },
        ),
        { description: 'Files that a volume can hold.' },
      ),
    ),
    auth: Type.Optional(
      Type.Object(
        {
          types: Type.Optional(
            Type.Array(
              Type.Object({ name: Type.String({ description: 'Name of the type.' }) }, { description: 'An authentication type.', 'x-kubernetes-preserve-unknown-fields': true }),
              { description: 'The authentication types.' },
            ),
          ),
        },
        { description: 'How tools of this class are authenticated to.' },
      ),
    ),
  },
  { description: 'How tools of one kind are reached.', 'x-kubernetes-preserve-unknown-fields': true },
)

export const ConnectorClassStatusSchema = Type.Object(
  { conditions: Type.Optional(Type.Array(ConditionSchema, { description: 'The state of the class.' })) },
  { description: 'What is known of the class.', 'x-kubernetes-preserve-unknown-fields': true },
)

export interface ConnectorClass extends KubeObject {
  spec?: Static<typeof ConnectorClassSpecSchema>
}
