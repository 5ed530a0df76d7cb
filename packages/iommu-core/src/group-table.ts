import { IommuGroup } from './group.ts';

/** The groups by key; ids are handed out lowest first, from 0, and freed ids are used again. */
export class GroupTable {
  readonly #byKey = new Map<string, IommuGroup>();
  readonly #ids = new Set<number>();

  join(key: string): IommuGroup {
    const known = this.#byKey.get(key);
    if (known !== undefined) return known;
    let id = 0;
    while (this.#ids.has(id)) id++;
    const group = new IommuGroup(id, key);
    this.#ids.add(id);
    this.#byKey.set(key, group);
    return group;
  }

  remove(group: IommuGroup): void {
    this.#byKey.delete(group.key);
    this.#ids.delete(group.id);
  }

  /** By ascending id. */
  list(): IommuGroup[] {
    return [...this.#byKey.values()].sort((a, b) => a.id - b.id);
  }
}
