import type { GenerationRequest } from '../engine.js'
import { SequenceState } from '../sequence.js'

/** A member of a static batch. */
export class StaticSequence extends SequenceState {
  /** Padding tokens computed so far, beside its prompt (literal). */
  padded = 0
  /** Its slot has its sampling state. */
  seated = false

  beginStatic(request: GenerationRequest): void {
    this.begin(request)
    this.padded = 0
    this.seated = false
  }
}
