// One document, one screen at a time: what was typed on a screen goes with it.
import { Refusal } from './server.js'

const main = document.querySelector('main')

/** Shows a template with its texts filled in, and brings the focus to it; answers the element that holds it. */
export function show(name, texts = {}, problem = undefined) {
  main.replaceChildren(fill(name, texts))
  for (const box of main.querySelectorAll('[data-shows]'))
    box.addEventListener('change', () => {
      document.getElementById(box.dataset.shows).type = box.checked ? 'text' : 'password'
    })
  document.title = `${main.querySelector('h1').textContent} · HiveSync`
  if (problem !== undefined) tell(problem)
  const first = main.querySelector('[data-focus]')
  if (first === null || first.closest('[hidden]')) main.querySelector('h1').focus()
  else first.focus()
  return main
}

/** A copy of a template; a text that is given shows its element, one that is undefined hides it. */
export function fill(name, texts) {
  const copy = document.getElementById(name).content.cloneNode(true)
  for (const [key, text] of Object.entries(texts))
    for (const element of copy.querySelectorAll(`[data-text="${key}"]`)) {
      element.hidden = text === undefined
      if (text !== undefined) element.textContent = text
    }
  return copy
}

/**
 * Waits until one of the screen's acts has answered something: `submit` gets what was typed, the others belong to the buttons that name them.
 * A refusal is shown and the person may try again; an act that answers undefined leaves the screen as it is. One act at a time.
 */
export function until(acts) {
  let isBusy = false
  return new Promise((resolve) => {
    const run = async (act, values) => {
      if (isBusy) return
      isBusy = true
      main.setAttribute('aria-busy', 'true')
      tell(undefined)
      try {
        const answer = await act(values)
        if (answer !== undefined) resolve(answer)
      } catch (error) {
        tell(problemOf(error))
      } finally {
        isBusy = false
        main.removeAttribute('aria-busy')
      }
    }
    const form = main.querySelector('form')
    form.addEventListener('submit', (event) => {
      event.preventDefault()
      run(acts.submit, Object.fromEntries(new FormData(form)))
    })
    for (const button of main.querySelectorAll('button[data-act]'))
      if (acts[button.dataset.act] !== undefined)
        button.addEventListener('click', () => run(acts[button.dataset.act], button))
  })
}

/** What to tell the person; a fault of this page also goes to the console. */
export function problemOf(error) {
  if (error instanceof Refusal) return error.message
  reportError(error)
  return 'Something went wrong on this page. Reload it, then start again.'
}

function tell(problem) {
  const place = main.querySelector('.problem')
  if (place === null) return
  place.textContent = problem ?? ''
  place.hidden = problem === undefined
}
