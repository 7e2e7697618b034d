/** Why a model cannot be found, read or run. */
export const MODEL_ERRORS = {
  usage: 'the command line is wrong',
  model_not_found: 'no preset, file, directory or repository of that name',
  download_failed: 'the model could not be fetched',
  unauthorized: 'the repository is gated or private',
  checksum_mismatch: 'the bytes are not those that were published',
  file_unreadable: 'the system does not let the file be read',
  file_truncated: 'the file ends before what its header promises',
  header_malformed: 'the header is not what the format requires',
  header_too_large: 'a count or length in the header is beyond the bound',
  duplicate_key: 'a name stands twice in the header',
  tensor_shape: 'a tensor has an impossible or unexpected shape',
  tensor_range: 'a tensor lies outside the file or at an odd place',
  tensor_overlap: 'two tensors share bytes, or bytes belong to none',
  tensor_missing: 'the model needs a tensor that the file lacks',
  unsupported_dtype: 'the weights are stored in a type this program does not read',
  unsupported_architecture: 'not a model of the Llama family or Qwen2',
  unsupported_feature: 'the model needs something the forward pass does not do',
  config_malformed: 'config.json or the metadata lacks a field or has a wrong one',
  pickle_refused: 'a pickle can run code when it is read',
  not_a_model: 'neither safetensors nor GGUF',
  tokenizer_malformed: 'the tokenizer cannot be built',
  template_failed: 'the chat template is too large, too slow or wrong',
} as const
export type ModelErrorCode = keyof typeof MODEL_ERRORS

/** `field`: the header field, tensor or option at fault; `fix`: what the user can do, or ''. */
export class ModelError extends Error {
  constructor(
    readonly code: ModelErrorCode,
    message: string,
    readonly field: string | null = null,
    readonly fix = '',
    options?: ErrorOptions,
  ) {
    super(message, options)
    this.name = 'ModelError'
  }
}
