import { cpSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeEach, describe, expect, it } from 'vitest'
import { createByteTokenizer } from '../../engines/model/byte-tokenizer.js'
import { loadChatTemplate } from '../../engines/model/chat-template.js'
import { openCheckpoint } from '../../engines/model/checkpoint.js'
import { JinjaTemplate, MAX_TEMPLATE_CHARACTERS, RENDER_LIMIT_MS } from '../../engines/model/jinja-template.js'
import { scratchDirectory } from './model-files.js'

const FIXTURE = new URL('../fixtures/model/llama-scaled', import.meta.url).pathname
const scratch = scratchDirectory()
afterAll(scratch.remove)
const failure = (text: string) =>
  expect.objectContaining({ name: 'ModelError', code: 'template_failed', message: expect.stringContaining(text) })

describe('a chat template of a directory', () => {
  const directory = join(scratch.path, 'model')
  const messages = [{ role: 'user', content: 'hi' }]
  const render = () => {
    const checkpoint = openCheckpoint(directory)
    checkpoint.close()
    return loadChatTemplate(checkpoint, createByteTokenizer(checkpoint.config)).render(messages, {
      addGenerationPrompt: true,
    })
  }
  beforeEach(() => {
    rmSync(directory, { recursive: true, force: true })
    cpSync(FIXTURE, directory, { recursive: true })
  })
  const write = (name: string, value: unknown) =>
    writeFileSync(join(directory, name), typeof value === 'string' ? value : JSON.stringify(value))

  it('may be missing: plain lines then', () => {
    expect(render()).toBe('user: hi\nassistant:')
  })
  it('is read from tokenizer_config.json, with its token texts', () => {
    write('tokenizer_config.json', {
      bos_token: { content: '<s>' },
      eos_token: '</s>',
      chat_template: "{{ bos_token }}{% for m in messages %}[{{ m['content'] }}]{{ eos_token }}{% endfor %}",
    })
    expect(render()).toBe('<s>[hi]</s>')
  })
  it('may be one of several: the default is taken', () => {
    write('tokenizer_config.json', {
      chat_template: [
        { name: 'tool', template: 'T' },
        { name: 'default', template: 'D' },
      ],
    })
    expect(render()).toBe('D')
  })
  it('of chat_template.jinja goes before the others', () => {
    write('tokenizer_config.json', { chat_template: 'A' })
    write('chat_template.json', { chat_template: 'B' })
    write('chat_template.jinja', 'C{% if add_generation_prompt %}!{% endif %}')
    expect(render()).toBe('C!')
    rmSync(join(directory, 'chat_template.jinja'))
    expect(render()).toBe('A')
    rmSync(join(directory, 'tokenizer_config.json'))
    expect(render()).toBe('B')
  })
  it('that is too large is refused', () => {
    write('chat_template.jinja', 'x'.repeat(MAX_TEMPLATE_CHARACTERS + 1))
    expect(render).toThrowError(failure('characters'))
  })
})

describe('a template is a stranger', () => {
  const render = (source: string) => new JinjaTemplate(source).render({ messages: [] })

  it.each([
    ['{{ raise_exception("roles must alternate") }}', 'roles must alternate'],
    ['{% for i in range(1000000000) %}x{% endfor %}', 'range()'],
    ['{% for i in range(0, 10, 0) %}x{% endfor %}', 'range()'],
    ['{% for %}', ''],
    ['{% if', ''],
  ])('%s fails with a message', (source, message) => {
    expect(() => render(source)).toThrowError(failure(message))
  })

  it('that loops for ever is stopped', () => {
    const loop = '{% for a in range(100000) %}{% for b in range(100000) %}{% set c = a * b %}{% endfor %}{% endfor %}'
    const start = performance.now()
    expect(() => render(loop)).toThrowError(failure(`longer than ${RENDER_LIMIT_MS} ms`))
    expect(performance.now() - start).toBeLessThan(10 * RENDER_LIMIT_MS)
  })

  it('after which the next one still renders', () => {
    expect(render('{% for i in range(3) %}{{ i }}{% endfor %}')).toBe('012')
  })

  it('that doubles a string for ever is stopped', () => {
    const grow = `{% set ns = namespace(s='xxxxxxxx') %}{% for i in range(40) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}{{ ns.s }}`
    expect(() => render(grow)).toThrowError(failure(''))
  })

  it('that nests without end is refused', () => {
    expect(() => render('{% if true %}'.repeat(20_000))).toThrowError(failure(''))
    expect(() => render(`{{ ${'('.repeat(60_000)} }}`)).toThrowError(failure(''))
  })

  it('reaches nothing but its variables', () => {
    expect(render("{{ ''.constructor }}{{ process }}{{ globalThis }}{{ messages.__proto__ }}")).toBe('')
  })

  it('knows the date', () => {
    expect(render("{{ strftime_now('%Y-%m-%d') }}")).toMatch(/^\d{4}-\d\d-\d\d$/)
  })
})
