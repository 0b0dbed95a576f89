/** Loaded before a test file: properties without a seed of their own are the same in each run. */
import { configureGlobal } from 'fast-check'

export const SEED = 20_260_102

configureGlobal({ seed: SEED })
