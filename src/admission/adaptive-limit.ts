/**
 * How many requests an upstream is given at a time, found from how long its answers take (a gradient, as in Vegas).
 *
 * A service with room answers as fast to 40 requests at a time as to 30. One without queues them inside, and its answers
 * take longer in the same proportion. So the limit is held just where answers begin to take longer: `limit × baseline /
 * latency + 1`, where the baseline is how long they take at three quarters of the limit. It is measured again and again,
 * by going down there for a moment: a baseline that is only ever remembered either drifts up with the queue it causes,
 * or keeps a service that became slower for good at the minimum. Measured at a part of the limit it cannot do either:
 * where three quarters are still too many, the limit falls to three quarters, and the next look is at less.
 *
 * Latencies are averaged as logarithms, so that one answer of a minute among a hundred of 50 ms says what one should.
 * Where all answers of a moment come late, since the service or its host stood still, one window says what it should not:
 * what was never seen before counts when the next window sees it, too. A queue inside lasts, a stall does not.
 *
 * Pure: time is the caller's, in milliseconds. The state is an array of numbers, which may lie in shared memory.
 */

export interface LimitBounds {
  readonly min: number
  readonly max: number
}

/** Numbers of state: the length of the array that is handed in. */
export const LIMIT_FIELDS = 19

const INITIAL = 20
/** The part of the limit at which the baseline is measured. */
const PROBED = 0.75
/** An answer counts as one under load from this part of the limit on. */
const LOADED = 0.9
/** How far one window moves the limit towards what it says. */
const STEP = 0.25
/** The same where answers take longer by more than this. */
const STEP_FAR = 0.6
const FAR = 0.16
/** How many requests may be queued inside. */
const QUEUED = 0.5
/** How much the last window counts in the mean of some. */
const SMOOTHING = 0.35
/** Windows between two looks at the baseline. */
const PROBE_EVERY = 20
/** How much of the baseline a look replaces: one that was due, and one because the limit fell. */
const BLEND = 0.2
const BLEND_FALLEN = 0.5
/** A baseline off by this factor has changed, and is not blended. */
const CHANGED = Math.log(1.3)
/** Answers that take shorter by this part of what the limit was lowered by were queued even so. */
const ELASTIC = 0.7
const LOG_PROBED = -Math.log(PROBED)
/** At the beginning, from window to window, until answers take longer. */
const GROWTH = 1.5
/** Standard errors by which answers must take longer. */
const SURE = 2
/** The same, shorter than at a part of the limit. They cannot, so the baseline is too high. */
const SURELY_SHORTER = 3
const MIN_SAMPLES = 24
/** Where answers come fast, a window takes in more of them. */
const MIN_WINDOW_MS = 250

const LIMIT = 0
const PHASE = 1
const WINDOW_AT = 2
const BASELINE = 3
const LOAD_COUNT = 4
const LOAD_SUM = 5
const BASE_COUNT = 6
const BASE_SUM = 7
const WINDOWS = 8
const PROBED_LIMIT = 9
const CALM = 10
const LONGER = 11
const LATENCY = 12
const SETTLED = 13
const LOAD_SQUARES = 14
const BASE_SQUARES = 15
/** Square of the standard error of the baseline. */
const BASELINE_ERROR = 16
/** 1: the baseline is of one look, in which it changed. */
const DOUBTFUL = 17
/** By how much answers took longer in the last window, where that may have been a stall; 0: it was none. */
const STALL = 18

/** Values of PHASE. In the first ones the limit is what it is but for probing. */
const UNKNOWN = 0
const HOLDING = 1
const PROBING = 2

export class AdaptiveLimit {
  readonly #bounds: LimitBounds
  readonly #state: Float64Array

  /** @param state zeroes, or what another thread works with as well; then one at a time may call `observe` */
  constructor(bounds: LimitBounds, state: Float64Array = new Float64Array(LIMIT_FIELDS)) {
    this.#bounds = bounds
    this.#state = state
    // Those of a configuration before may have been others
    state[LIMIT] = this.#within(state[LIMIT] || INITIAL)
  }

  /** Requests that the upstream may have at a time, right now. */
  get limit(): number {
    const held = Math.floor(this.#state[LIMIT]!)
    return this.#state[PHASE] === HOLDING ? held : Math.max(this.#bounds.min, Math.floor(held * PROBED))
  }

  /**
   * An answer's head has come.
   *
   * @param latency milliseconds from the request to the head
   * @param inUse requests that the upstream had when this one was sent, itself included
   */
  observe(latency: number, inUse: number, now: number): void {
    const state = this.#state
    // What was sent before the limit moved says nothing of where it is
    if (now - latency < state[WINDOW_AT]!) return
    const limit = Math.floor(state[LIMIT]!)
    const logarithm = Math.log(Math.max(latency, 0.01))
    if (inUse >= limit * LOADED && state[PHASE] === HOLDING) {
      state[LOAD_COUNT]!++
      state[LOAD_SUM]! += logarithm
      state[LOAD_SQUARES]! += logarithm * logarithm
      if (this.#isEnough(state[LOAD_COUNT]!, limit, now)) this.#judge(now)
    } else if (inUse <= Math.max(limit * PROBED, this.#bounds.min, 1) && inUse * 2 >= limit * PROBED) {
      state[BASE_COUNT]!++
      state[BASE_SUM]! += logarithm
      state[BASE_SQUARES]! += logarithm * logarithm
      if (this.#isEnough(state[BASE_COUNT]!, limit, now)) this.#learn(now)
    }
  }

  #isEnough(count: number, limit: number, now: number): boolean {
    return count >= MIN_SAMPLES && count >= 2 * limit && now - this.#state[WINDOW_AT]! >= MIN_WINDOW_MS
  }

  /** A window under load is full: the limit moves. */
  #judge(now: number): void {
    const state = this.#state
    const limit = state[LIMIT]!
    state[LATENCY] = state[LOAD_SUM]! / state[LOAD_COUNT]!
    const seen = state[LATENCY] - state[BASELINE]!
    const error = squaredError(state[LOAD_COUNT]!, state[LOAD_SUM]!, state[LOAD_SQUARES]!)
    const sudden = surely(seen - Math.max(0, state[LONGER]!), error) > FAR
    if (sudden && state[SETTLED] === 1 && state[STALL] === 0) {
      state[STALL] = seen
      return this.#begin(now)
    }
    const longer = state[STALL] === 0 ? seen : Math.min(seen, state[STALL]!)
    state[STALL] = 0
    if (-longer > SURELY_SHORTER * Math.sqrt(error + state[BASELINE_ERROR]!))
      state[BASELINE]! += longer * BLEND_FALLEN
    const smoothed = state[LONGER]! + (longer - state[LONGER]!) * SMOOTHING
    state[LONGER] = smoothed
    state[WINDOWS]!++
    // What may be chance lowers nothing. Much, in one window, or a little, in the mean of some.
    const now1 = surely(longer, error + state[BASELINE_ERROR]!)
    const mean = surely(smoothed, (error * SMOOTHING) / (2 - SMOOTHING) + state[BASELINE_ERROR]!)
    const far = now1 > FAR
    const ratio = Math.exp(-(far ? now1 : mean))
    if (state[SETTLED] === 0) this.#search(Math.exp(-now1))
    else {
      state[CALM] = limit * (1 - ratio) < QUEUED / 2 ? state[CALM]! + 1 : 0
      const more = QUEUED * Math.min(2 ** Math.max(0, state[CALM]! - 3), limit)
      const target = limit * Math.min(ratio, 1.1) + more
      state[LIMIT] = this.#within(limit + (far ? STEP_FAR : STEP) * (target - limit))
      if (this.#isProbeDue(longer)) state[PHASE] = PROBING
    }
    this.#begin(now)
  }

  /** After some windows, and wherever the baseline may be that of another limit or of another time. */
  #isProbeDue(longer: number): boolean {
    const [limit, probed] = [this.#state[LIMIT]!, this.#state[PROBED_LIMIT]!]
    return (
      this.#state[WINDOWS]! >= PROBE_EVERY ||
      limit < probed * PROBED ||
      limit * PROBED > probed ||
      longer < -CHANGED
    )
  }

  /** At the beginning: up in large steps while there is room, down in as large ones while there is none. */
  #search(ratio: number): void {
    const state = this.#state
    const elasticity = -Math.log(ratio) / LOG_PROBED
    if (elasticity > ELASTIC && state[WINDOWS] === 1) return this.#lower()
    if (elasticity < 0.5) state[LIMIT] = this.#within(state[LIMIT]! * (GROWTH - Math.max(0, elasticity)))
    else state[SETTLED] = 1
  }

  /** Three quarters are too many as well: three quarters of them are looked at. */
  #lower(): void {
    const state = this.#state
    state[LATENCY] = state[BASELINE]!
    state[LIMIT] = this.#within(state[LIMIT]! * PROBED)
    state[PHASE] = PROBING
  }

  /** Enough was seen at a part of the limit: that is the baseline. */
  #learn(now: number): void {
    const state = this.#state
    const seen = state[BASE_SUM]! / state[BASE_COUNT]!
    const off = seen - state[BASELINE]!
    const error = squaredError(state[BASE_COUNT]!, state[BASE_SUM]!, state[BASE_SQUARES]!)
    const chance = 2.5 * Math.sqrt(error + state[BASELINE_ERROR]!)
    const changed = state[PHASE] === UNKNOWN || Math.abs(off) > Math.max(CHANGED, chance)
    const fallen = state[PHASE] === PROBING && state[WINDOWS]! < PROBE_EVERY
    const part = changed || state[DOUBTFUL] === 1 ? 1 : fallen ? BLEND_FALLEN : BLEND
    state[BASELINE]! += off * part
    state[BASELINE_ERROR] = part ** 2 * error + (1 - part) ** 2 * state[BASELINE_ERROR]!
    if (state[PHASE] !== HOLDING) {
      state[WINDOWS] = 0
      state[PROBED_LIMIT] = state[LIMIT]!
    }
    // The look in which it changed may have seen both, and counts for nothing if the next one sees something else
    state[DOUBTFUL] = changed ? 1 : 0
    const elasticity = (state[LATENCY]! - seen) / LOG_PROBED
    const lowers = changed && state[PHASE] === PROBING && elasticity > ELASTIC
    if (lowers && state[LIMIT]! > this.#bounds.min) this.#lower()
    else state[PHASE] = changed ? PROBING : HOLDING
    this.#begin(now)
  }

  #begin(now: number): void {
    const state = this.#state
    state[WINDOW_AT] = now
    state[LOAD_COUNT] = 0
    state[LOAD_SUM] = 0
    state[BASE_COUNT] = 0
    state[BASE_SUM] = 0
    state[LOAD_SQUARES] = 0
    state[BASE_SQUARES] = 0
  }

  #within(limit: number): number {
    return Math.min(this.#bounds.max, Math.max(this.#bounds.min, limit))
  }
}

/** Square of the standard error of a mean. */
function squaredError(count: number, sum: number, squares: number): number {
  return Math.max(0, squares / count - (sum / count) ** 2) / count
}

/** How much longer answers take, as a logarithm, when chance is taken off. */
function surely(longer: number, error: number): number {
  return Math.max(Math.min(longer, 0), longer - SURE * Math.sqrt(error))
}
