/** Why an engine could not start or had to stop. */
export const ENGINE_ERRORS = {
  'options-conflict': 'two options cannot both hold',
  'context-too-long': '--max-model-len exceeds what the model or its memory allows',
  'kv-memory-short': 'the KV cache does not hold one sequence',
  'device-memory-short': 'weights, activations or cache do not fit the device',
  'device-failed': 'the device refused or lost an operation',
  'model-failed': 'the model could not be loaded',
  'kernels-missing': 'the kernel library of the asked backend is not there',
  'device-hung': 'a step did not finish in time',
  'worker-died': 'the engine thread ended without a word',
  'invariant-broken': 'an integrity check failed',
} as const
export type EngineErrorCode = keyof typeof ENGINE_ERRORS

export class EngineError extends Error {
  constructor(
    readonly code: EngineErrorCode,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options)
    this.name = 'EngineError'
  }
}
