/**
 * A typed stream of trace events, the sink of what a layer tells: the layer emits, whoever composed the machine listens. `on` is false while nobody listens, so that a layer can skip building the event:
 * it asks `on` first, builds, emits. A listener is called within the traced operation, in the middle of it as a tracepoint is; it may read any
 * state, must not call back into the layer, and owns the event from then on. What a listener throws leaves the operation half done.
 * Linux: `DEFINE_EVENT`, `trace_*_enabled`.
 * @example const channel = new TraceChannel<{ name: 'map'; iova: number }>(); channel.listen((event) => log.push(event));
 */
export class TraceChannel<E extends { readonly name: string }> {
  on = false;
  readonly #listeners: ((event: E) => void)[] = [];

  /** Calls back for every event from now on. */
  listen(listener: (event: E) => void): void {
    this.#listeners.push(listener);
    this.on = true;
  }

  /** Tells every listener, in order of registration. */
  emit(event: E): void {
    for (const listener of this.#listeners) listener(event);
  }
}
