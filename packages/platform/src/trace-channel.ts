/**
 * A typed stream of trace events. `on` is false while nobody listens, so that a layer can skip building the event.
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
