/** What csi-sanity has for a plugin like this one, and what it has not. Names as it prints them. */

/** A reason, and the tests that it keeps from running. */
export interface LeftOut {
  reason: string
  tests: readonly string[]
}

export const PASSED: readonly string[] = [
  'Identity Service GetPluginCapabilities should return appropriate capabilities',
  'Identity Service GetPluginInfo should return appropriate information',
  'Identity Service Probe should return appropriate information',
  'Node Service NodeGetCapabilities should return appropriate capabilities',
  'Node Service NodeGetInfo should return appropriate values',
  'Node Service NodePublishVolume should fail when no target path is provided',
  'Node Service NodePublishVolume should fail when no volume capability is provided',
  'Node Service NodePublishVolume should fail when no volume id is provided',
  'Node Service NodeUnpublishVolume should fail when no target path is provided',
  'Node Service NodeUnpublishVolume should fail when no volume id is provided',
]

/** They need a volume that somebody created. */
export const LIFE_OF_A_VOLUME: readonly string[] = [
  'Node Service NodeUnpublishVolume should remove target path',
  'Node Service should be idempotent',
  'Node Service should work',
]

export const LEFT_OUT: readonly LeftOut[] = [
  { reason: 'it makes its volume by a Controller service first; a run of its own has one in front of the plugin', tests: LIFE_OF_A_VOLUME },
  {
    reason: 'nothing is staged: a volume belongs to one Pod, and is made in its target folder',
    tests: [
      'Node Service NodeStageVolume should fail when no staging target path is provided',
      'Node Service NodeStageVolume should fail when no volume capability is provided',
      'Node Service NodeStageVolume should fail when no volume id is provided',
      'Node Service NodeUnstageVolume should fail when no staging target path is provided',
      'Node Service NodeUnstageVolume should fail when no volume id is provided',
    ],
  },
  {
    reason: 'a volume has no statistics: it is a few small files',
    tests: [
      'Node Service NodeGetVolumeStats should fail when no volume id is provided',
      'Node Service NodeGetVolumeStats should fail when no volume path is provided',
      'Node Service NodeGetVolumeStats should fail when volume does not exist on the specified path',
      'Node Service NodeGetVolumeStats should fail when volume is not found',
    ],
  },
  {
    reason: 'a volume is as large as its files',
    tests: [
      'Node Service NodeExpandVolume should fail when no volume id is provided',
      'Node Service NodeExpandVolume should fail when no volume path is provided',
      'Node Service NodeExpandVolume should fail when volume is not found',
      'Node Service NodeExpandVolume should work if node-expand is called after node-publish',
    ],
  },
  {
    reason: 'health of volumes and of storage is not told: there is no storage',
    tests: [
      'Node Service NodeGetStorageHealth should return appropriate response',
      'Node Service NodeGetVolumeHealth should fail when no volume id is provided',
      'Node Service NodeGetVolumeHealth should return health for a valid volume',
    ],
  },
  {
    reason: 'nobody writes to these volumes, so that modes for one or several writers say nothing',
    tests: [
      'Node Service NodePublishVolume with single node multi writer capability should fail when volume with single node single writer access mode is already mounted at a different target path',
    ],
  },
  {
    reason: 'there is no GroupController service: there are no groups of volumes',
    tests: [
      'GroupController Service [GroupController Server] GroupControllerGetCapabilities should return appropriate capabilities',
      'GroupController Service [GroupController VolumeGroupSnapshots] CreateVolumeGroupSnapshot should fail when no name is provided',
      'GroupController Service [GroupController VolumeGroupSnapshots] DeleteVolumeGroupSnapshot should fail when no volume id is provided',
      'GroupController Service [GroupController VolumeGroupSnapshots] DeleteVolumeGroupSnapshot should succeed when an invalid volume id is used',
      'GroupController Service [GroupController VolumeGroupSnapshots] GetVolumeGroupSnapshot should fail when an invalid volume id is used',
      'GroupController Service [GroupController VolumeGroupSnapshots] GetVolumeGroupSnapshot should fail when no volume id is provided',
    ],
  },
  {
    reason: 'there is no Controller service: nobody creates, attaches, lists, expands or snapshots these volumes, which live and end with their Pod',
    tests: [
      'Controller Service [Controller Server] ControllerGetCapabilities should return appropriate capabilities',
      'Controller Service [Controller Server] ControllerPublishVolume should fail when no node id is provided',
      'Controller Service [Controller Server] ControllerPublishVolume should fail when no volume capability is provided',
      'Controller Service [Controller Server] ControllerPublishVolume should fail when no volume id is provided',
      'Controller Service [Controller Server] ControllerPublishVolume should fail when publishing more volumes than the node max attach limit',
      'Controller Service [Controller Server] ControllerPublishVolume should fail when the node does not exist',
      'Controller Service [Controller Server] ControllerPublishVolume should fail when the volume does not exist',
      'Controller Service [Controller Server] ControllerPublishVolume should fail when the volume is already published but is incompatible',
      'Controller Service [Controller Server] ControllerUnpublishVolume should fail when no volume id is provided',
      'Controller Service [Controller Server] CreateVolume should create volume from an existing source snapshot',
      'Controller Service [Controller Server] CreateVolume should create volume from an existing source volume',
      'Controller Service [Controller Server] CreateVolume should create volume with a volume attribute class',
      'Controller Service [Controller Server] CreateVolume should fail when no name is provided',
      'Controller Service [Controller Server] CreateVolume should fail when no volume capabilities are provided',
      'Controller Service [Controller Server] CreateVolume should fail when requesting to create a volume with already existing name and different capacity',
      'Controller Service [Controller Server] CreateVolume should fail when the volume source snapshot is not found',
      'Controller Service [Controller Server] CreateVolume should fail when the volume source volume is not found',
      'Controller Service [Controller Server] CreateVolume should not create volume with an invalid volume attribute class',
      'Controller Service [Controller Server] CreateVolume should not fail when creating volume with maximum-length name',
      'Controller Service [Controller Server] CreateVolume should not fail when requesting to create a volume with already existing name and same capacity',
      'Controller Service [Controller Server] CreateVolume should return appropriate values SingleNodeWriter NoCapacity',
      'Controller Service [Controller Server] CreateVolume should return appropriate values SingleNodeWriter WithCapacity 1Gi',
      'Controller Service [Controller Server] DeleteVolume should fail when no volume id is provided',
      'Controller Service [Controller Server] DeleteVolume should return appropriate values (no optional values added)',
      'Controller Service [Controller Server] DeleteVolume should succeed when an invalid volume id is used',
      'Controller Service [Controller Server] GetCapacity should return capacity (no optional values added)',
      'Controller Service [Controller Server] ListVolumes check the presence of new volumes and absence of deleted ones in the volume list',
      'Controller Service [Controller Server] ListVolumes pagination should detect volumes added between pages and accept tokens when the last volume from a page is deleted',
      'Controller Service [Controller Server] ListVolumes should fail when an invalid starting_token is passed',
      'Controller Service [Controller Server] ListVolumes should return appropriate values (no optional values added)',
      'Controller Service [Controller Server] ValidateVolumeCapabilities should fail when no volume capabilities are provided',
      'Controller Service [Controller Server] ValidateVolumeCapabilities should fail when no volume id is provided',
      'Controller Service [Controller Server] ValidateVolumeCapabilities should fail when the requested volume does not exist',
      'Controller Service [Controller Server] ValidateVolumeCapabilities should return appropriate values (no optional values added)',
      'Controller Service [Controller Server] volume lifecycle should be idempotent',
      'Controller Service [Controller Server] volume lifecycle should work',
      'ControllerGetVolumeHealth [Controller Server] should fail when no volume id is provided',
      'ControllerGetVolumeHealth [Controller Server] should return health for a valid volume',
      'ControllerListVolumeHealth [Controller Server] should return appropriate response',
      'CreateSnapshot [Controller Server] should fail when no name is provided',
      'CreateSnapshot [Controller Server] should fail when no source volume id is provided',
      'CreateSnapshot [Controller Server] should fail when requesting to create a snapshot with already existing name and different source volume ID',
      'CreateSnapshot [Controller Server] should succeed when creating a snapshot with accessibility requirements',
      'CreateSnapshot [Controller Server] should succeed when creating snapshot with maximum-length name',
      'CreateSnapshot [Controller Server] should succeed when requesting to create a snapshot with already existing name and same source volume ID',
      'DeleteSnapshot [Controller Server] should fail when no snapshot id is provided',
      'DeleteSnapshot [Controller Server] should return appropriate values (no optional values added)',
      'DeleteSnapshot [Controller Server] should succeed when an invalid snapshot id is used',
      'ExpandVolume [Controller Server] should fail if no capacity range is given',
      'ExpandVolume [Controller Server] should fail if no volume id is given',
      'ExpandVolume [Controller Server] should work',
      'GetSnapshot [Controller Server] should return an error',
      'GetSnapshot [Controller Server] should return an error when the specified snapshot id does not exist',
      'GetSnapshot [Controller Server] should return snapshot that match the specified snapshot id',
      'ListSnapshots [Controller Server] check the presence of new snapshots in the snapshot list',
      'ListSnapshots [Controller Server] should return appropriate values (no optional values added)',
      'ListSnapshots [Controller Server] should return empty when the specified snapshot id does not exist',
      'ListSnapshots [Controller Server] should return empty when the specified source volume id does not exist',
      'ListSnapshots [Controller Server] should return next token when a limited number of entries are requested',
      'ListSnapshots [Controller Server] should return snapshots that match the specified snapshot id',
      'ListSnapshots [Controller Server] should return snapshots that match the specified source volume id',
      'ModifyVolume [Controller Server] should fail if no volume id is given',
      'ModifyVolume [Controller Server] should fail if specified mutable parameters are not supported by the volume',
      'ModifyVolume [Controller Server] should fail if volume does not exist',
      'ModifyVolume [Controller Server] should fail to modify a volume created with a volume attribute class if new mutable parameters are not supported by volume',
      'ModifyVolume [Controller Server] should modify a volume created with a volume attribute class',
      'ModifyVolume [Controller Server] should modify a volume created without a volume attribute class',
    ],
  },
]
