/** The dimensions that the shapes of `bench kernels` follow. */
export interface ModelDimensions {
  name: string
  hidden: number
  heads: number
  kvHeads: number
  headDim: number
  /** Width of the gated MLP. */
  intermediate: number
  vocab: number
}

/** From the models' config.json (meta-llama/Meta-Llama-3-8B, meta-llama/Llama-3.2-1B, HuggingFaceTB/SmolLM2-135M). */
const PRESETS: readonly ModelDimensions[] = [
  dimensions('llama-3-8b', 4096, 32, 8, 128, 14336, 128256),
  dimensions('llama-3.2-1b', 2048, 32, 8, 64, 8192, 128256),
  dimensions('smollm2-135m', 576, 9, 3, 64, 1536, 49152),
]

/** A preset's name, or `hidden,heads,kvHeads,headDim,intermediate,vocab`. Throws RangeError with what is allowed. */
export function parseModel(text: string): ModelDimensions {
  const preset = PRESETS.find((each) => each.name === text)
  if (preset) return preset
  const [hidden, heads, kvHeads, headDim, intermediate, vocab, ...rest] = text.split(',').map(Number)
  const wrong = [hidden, heads, kvHeads, headDim, intermediate, vocab].some((n) => !(Number.isInteger(n) && n! > 0))
  if (wrong || rest.length > 0 || heads! % kvHeads! !== 0 || (headDim !== 64 && headDim !== 128)) {
    const names = PRESETS.map((each) => each.name).join(', ')
    throw new RangeError(
      `model '${text}' is neither one of ${names} nor hidden,heads,kvHeads,headDim,intermediate,vocab (head dimension 64 or 128)`,
    )
  }
  return dimensions(text, hidden!, heads!, kvHeads!, headDim!, intermediate!, vocab!)
}

function dimensions(
  name: string,
  hidden: number,
  heads: number,
  kvHeads: number,
  headDim: number,
  intermediate: number,
  vocab: number,
): ModelDimensions {
  return { name, hidden, heads, kvHeads, headDim, intermediate, vocab }
}
