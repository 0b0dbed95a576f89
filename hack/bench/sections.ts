/** All sections, in the order in which they run. */
import { ADMISSION } from './admission.ts'
import { controllerLatency } from './controller-latency.ts'
import { controllerScale } from './controller-scale.ts'
import { CSI } from './csi.ts'
import { EXTENSION } from './extension.ts'
import { POD_ADMISSION } from './pod-admission.ts'
import { POD_CREATION } from './pod-creation.ts'
import { ROLES } from './roles.ts'
import type { Section } from './section.ts'

export const SECTIONS: readonly Section[] = [ADMISSION, POD_ADMISSION, POD_CREATION, controllerLatency, controllerScale, ROLES, EXTENSION, CSI]
