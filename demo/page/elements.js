export function byId(id) {
  return document.getElementById(id)
}

/** Says how it went: `good`, `bad`, or neither while it lasts. */
export function say(id, text, kind = '') {
  const status = byId(id)
  status.textContent = text
  status.className = `status ${kind}`
}

/** One more line in a list, which keeps the newest and shows them. */
export function log(id, text, kind = '') {
  const list = byId(id)
  const line = document.createElement('div')
  line.className = kind
  line.textContent = text
  list.append(line)
  while (list.children.length > 200) list.firstElementChild.remove()
  list.scrollTop = list.scrollHeight
}

export function seconds(since) {
  return `${((performance.now() - since) / 1000).toFixed(2)} s`
}
