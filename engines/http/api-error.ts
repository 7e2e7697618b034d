import type { ServerResponse } from 'node:http'

/** Every way this server says no: HTTP status and OpenAI error type of each code. */
export const API_ERRORS = {
  invalid_json: [400, 'invalid_request_error'],
  invalid_type: [400, 'invalid_request_error'],
  invalid_value: [400, 'invalid_request_error'],
  missing_field: [400, 'invalid_request_error'],
  unsupported_field: [400, 'invalid_request_error'],
  context_length_exceeded: [400, 'invalid_request_error'],
  kv_capacity_exceeded: [400, 'invalid_request_error'],
  chat_template_error: [400, 'invalid_request_error'],
  bad_http: [400, 'invalid_request_error'],
  invalid_api_key: [401, 'authentication_error'],
  forbidden_host: [403, 'authentication_error'],
  forbidden_origin: [403, 'authentication_error'],
  model_not_found: [404, 'not_found_error'],
  unknown_route: [404, 'not_found_error'],
  method_not_allowed: [405, 'invalid_request_error'],
  request_timeout: [408, 'invalid_request_error'],
  body_too_large: [413, 'invalid_request_error'],
  unsupported_media_type: [415, 'invalid_request_error'],
  queue_full: [429, 'rate_limit_error'],
  headers_too_large: [431, 'invalid_request_error'],
  internal_error: [500, 'server_error'],
  engine_error: [500, 'server_error'],
  engine_loading: [503, 'unavailable_error'],
  engine_draining: [503, 'unavailable_error'],
  engine_dead: [503, 'unavailable_error'],
  engine_stalled: [503, 'unavailable_error'],
} as const satisfies Record<string, readonly [number, string]>

export type ApiErrorCode = keyof typeof API_ERRORS

/** An answer other than 200: thrown anywhere below a route, turned into its JSON body at one place. */
export class ApiError extends Error {
  constructor(
    readonly code: ApiErrorCode,
    message: string,
    readonly param: string | null = null,
    options: { cause?: unknown; headers?: Record<string, string> } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.name = 'ApiError'
    this.headers = options.headers ?? {}
  }
  readonly headers: Record<string, string>
  get status(): number {
    return API_ERRORS[this.code][0]
  }
}

/** What any thrown value tells the client. A defect of ours tells nothing but that it is one. */
export function toApiError(error: unknown): ApiError {
  if (error instanceof ApiError) return error
  return new ApiError('internal_error', 'The server met an unexpected condition.', null, { cause: error })
}

const MAX_BODY_BYTES = 1024

/** `{"error":{message,type,param,code}}`, at most 1 KiB: the message is shortened until it fits. */
export function errorBody(error: ApiError): string {
  const param = error.param === null ? null : clip(error.param, 100)
  for (let length = 600; ; length = Math.floor(length / 2)) {
    const message = clip(error.message, length)
    const body = JSON.stringify({ error: { message, type: API_ERRORS[error.code][1], param, code: error.code } })
    if (Buffer.byteLength(body) <= MAX_BODY_BYTES || length === 0) return body
  }
}

/** Answers with the error's status and body; a response already under way is destroyed instead. */
export function sendError(response: ServerResponse, error: ApiError): void {
  if (response.headersSent) {
    response.destroy()
    return
  }
  const body = errorBody(error)
  response.writeHead(error.status, {
    ...error.headers,
    'content-type': 'application/json; charset=utf-8',
    'content-length': Buffer.byteLength(body),
  })
  if (error.code === 'body_too_large') endAfterUpload(response, body)
  else response.end(body)
}

const UPLOAD_GRACE_MS = 500

/** Closing while the client still sends would reset the connection before it reads why: its bytes are thrown away for a moment. */
function endAfterUpload(response: ServerResponse, body: string): void {
  response.write(body)
  const end = () => response.end()
  const timer = setTimeout(end, UPLOAD_GRACE_MS)
  response.once('close', () => clearTimeout(timer))
  response.req.once('end', end).resume()
}

/** A client's value as it may stand in a message: JSON, at most 200 characters. */
export function quote(value: unknown): string {
  if (typeof value === 'number') return String(value)
  if (Array.isArray(value)) return `a list of ${value.length}`
  if (typeof value === 'object' && value !== null) return 'an object'
  if (typeof value === 'string' && value.length > 200) return JSON.stringify(clip(value, 200))
  return JSON.stringify(value) ?? 'nothing'
}

function clip(text: string, length: number): string {
  return text.length <= length ? text : text.slice(0, Math.max(0, length - 3)).replace(/\p{Surrogate}/gu, '') + '...'
}
