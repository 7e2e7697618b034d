/**
 * Makes test/fixtures/model/smollm2-encodings.json: token ids of many texts by llama.cpp on the same GGUF file. (Transformers' own
 * reading of a GGUF tokenizer leaves out SmolLM's split of digits, so it is no reference here.)
 * Run once, where node-llama-cpp is installed: node scripts/make-encoding-fixture.mjs SmolLM2-135M-Instruct.Q4_1.gguf
 */
import { createRequire } from 'node:module'
import { readFileSync, writeFileSync } from 'node:fs'
import { pathToFileURL } from 'node:url'

const require = createRequire(pathToFileURL(`${process.cwd()}/`))
const { getLlama } = await import(pathToFileURL(require.resolve('node-llama-cpp')).href)

const TEXTS = [
  'The capital of France is',
  'Hello  world\n\n 12345 tabs\t\tend ',
  'In 1984 there were 3,141 of them; 2024-06-07T12:30:59.001Z',
  "it's I'll we've\r\n\r\nfoo DON'T",
  'naïve café — “quotes” … ½',
  'emoji 👩‍👩‍👧 🏳️‍🌈 ok',
  '<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n',
  '  leading and trailing  ',
  'x=1;y=2.50\tz',
  'def f(a, b):\n    return a+b  # 100%\n\n\n',
  ' ',
  '\n',
  '\n\n\n   \n',
  'ﬁ ligature Ａ',
  '春天来了，山上的雪慢慢融化，小溪里的水越来越多。',
  'مرحبا بالعالم',
  'русский текст 2024',
  '한국어 テスト',
  'a'.repeat(300),
  '!?'.repeat(50),
]

const llama = await getLlama({ gpu: false, build: 'never', logLevel: 'error' })
const model = await llama.loadModel({ modelPath: process.argv[2] })
const { version } = JSON.parse(readFileSync('node_modules/node-llama-cpp/package.json', 'utf8'))
const encodings = TEXTS.map((text) => ({ text, tokens: Array.from(model.tokenize(text, true)) }))
const made = `llama.cpp ${llama.llamaCppRelease?.release ?? ''} through node-llama-cpp ${version}`
writeFileSync('test/fixtures/model/smollm2-encodings.json', `${JSON.stringify({ made, encodings })}\n`)
process.exit(0)
