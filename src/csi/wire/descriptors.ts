// Generated from the proto files beside it by "npm run generate"; do not edit.

/** The proto files as protobufjs reads them. */
export const DESCRIPTORS = {
  nested: {
    csi: {
      nested: {
        v1: {
          nested: {
            Identity: {
              methods: {
                GetPluginInfo: { requestType: 'GetPluginInfoRequest', responseType: 'GetPluginInfoResponse' },
                GetPluginCapabilities: { requestType: 'GetPluginCapabilitiesRequest', responseType: 'GetPluginCapabilitiesResponse' },
                Probe: { requestType: 'ProbeRequest', responseType: 'ProbeResponse' },
              },
            },
            Node: {
              methods: {
                NodePublishVolume: { requestType: 'NodePublishVolumeRequest', responseType: 'NodePublishVolumeResponse' },
                NodeUnpublishVolume: { requestType: 'NodeUnpublishVolumeRequest', responseType: 'NodeUnpublishVolumeResponse' },
                NodeGetCapabilities: { requestType: 'NodeGetCapabilitiesRequest', responseType: 'NodeGetCapabilitiesResponse' },
                NodeGetInfo: { requestType: 'NodeGetInfoRequest', responseType: 'NodeGetInfoResponse' },
              },
            },
            GetPluginInfoRequest: {
              fields: {},
            },
            GetPluginInfoResponse: {
              fields: {
                name: { type: 'string', id: 1 },
                vendorVersion: { type: 'string', id: 2 },
              },
            },
            GetPluginCapabilitiesRequest: {
              fields: {},
            },
            GetPluginCapabilitiesResponse: {
              fields: {},
            },
            ProbeRequest: {
              fields: {},
            },
            ProbeResponse: {
              fields: {
                ready: { type: 'BoolValue', id: 1 },
              },
            },
            BoolValue: {
              fields: {
                value: { type: 'bool', id: 1 },
              },
            },
            NodePublishVolumeRequest: {
              fields: {
                volumeId: { type: 'string', id: 1 },
                publishContext: { keyType: 'string', type: 'string', id: 2 },
                stagingTargetPath: { type: 'string', id: 3 },
                targetPath: { type: 'string', id: 4 },
                volumeCapability: { type: 'VolumeCapability', id: 5 },
                readonly: { type: 'bool', id: 6 },
                secrets: { keyType: 'string', type: 'string', id: 7 },
                volumeContext: { keyType: 'string', type: 'string', id: 8 },
              },
            },
            NodePublishVolumeResponse: {
              fields: {},
            },
            VolumeCapability: {
              oneofs: {
                accessType: {
                  oneof: ['block', 'mount'],
                },
              },
              fields: {
                block: { type: 'BlockVolume', id: 1 },
                mount: { type: 'MountVolume', id: 2 },
                accessMode: { type: 'AccessMode', id: 3 },
              },
              nested: {
                BlockVolume: {
                  fields: {},
                },
                MountVolume: {
                  fields: {
                    fsType: { type: 'string', id: 1 },
                    mountFlags: { rule: 'repeated', type: 'string', id: 2 },
                    volumeMountGroup: { type: 'string', id: 3 },
                  },
                },
                AccessMode: {
                  fields: {
                    mode: { type: 'Mode', id: 1 },
                  },
                  nested: {
                    Mode: {
                      values: { UNKNOWN: 0, SINGLE_NODE_WRITER: 1, SINGLE_NODE_READER_ONLY: 2, MULTI_NODE_READER_ONLY: 3, MULTI_NODE_SINGLE_WRITER: 4, MULTI_NODE_MULTI_WRITER: 5, SINGLE_NODE_SINGLE_WRITER: 6, SINGLE_NODE_MULTI_WRITER: 7 },
                    },
                  },
                },
              },
            },
            NodeUnpublishVolumeRequest: {
              fields: {
                volumeId: { type: 'string', id: 1 },
                targetPath: { type: 'string', id: 2 },
              },
            },
            NodeUnpublishVolumeResponse: {
              fields: {},
            },
            NodeGetCapabilitiesRequest: {
              fields: {},
            },
            NodeGetCapabilitiesResponse: {
              fields: {
                capabilities: { rule: 'repeated', type: 'NodeServiceCapability', id: 1 },
              },
            },
            NodeServiceCapability: {
              oneofs: {
                type: {
                  oneof: ['rpc'],
                },
              },
              fields: {
                rpc: { type: 'RPC', id: 1 },
              },
              nested: {
                RPC: {
                  fields: {
                    type: { type: 'Type', id: 1 },
                  },
                  nested: {
                    Type: {
                      values: { UNKNOWN: 0, VOLUME_MOUNT_GROUP: 6 },
                    },
                  },
                },
              },
            },
            NodeGetInfoRequest: {
              fields: {},
            },
            NodeGetInfoResponse: {
              fields: {
                nodeId: { type: 'string', id: 1 },
              },
            },
          },
        },
      },
    },
    pluginregistration: {
      nested: {
        Registration: {
          methods: {
            GetInfo: { requestType: 'InfoRequest', responseType: 'PluginInfo' },
            NotifyRegistrationStatus: { requestType: 'RegistrationStatus', responseType: 'RegistrationStatusResponse' },
          },
        },
        InfoRequest: {
          fields: {},
        },
        PluginInfo: {
          fields: {
            type: { type: 'string', id: 1 },
            name: { type: 'string', id: 2 },
            endpoint: { type: 'string', id: 3 },
            supportedVersions: { rule: 'repeated', type: 'string', id: 4 },
          },
        },
        RegistrationStatus: {
          fields: {
            pluginRegistered: { type: 'bool', id: 1 },
            error: { type: 'string', id: 2 },
          },
        },
        RegistrationStatusResponse: {
          fields: {},
        },
      },
    },
  },
}
