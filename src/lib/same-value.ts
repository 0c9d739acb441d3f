/** Compares values by their content, including that of secrets. Pure. */
import { Secret } from '../model/secret.js';

/** Functions count as equal: they follow from the data beside them. */
export function isSameValue(one: unknown, other: unknown): boolean {
  if (Object.is(one, other)) return true;
  if (typeof one === 'function') return typeof other === 'function';
  if (typeof one !== 'object' || typeof other !== 'object') return false;
  if (one === null || other === null) return false;
  if (Object.getPrototypeOf(one) !== Object.getPrototypeOf(other)) return false;
  if (one instanceof Secret) return one.equals(other as Secret);
  if (one instanceof URL) return one.href === (other as URL).href;
  if (one instanceof Map || one instanceof Set) {
    return isSameValue([...one], [...(other as Iterable<unknown>)]);
  }
  return haveSameProperties(one, other);
}

/** A property that is undefined counts as absent. */
function haveSameProperties(one: object, other: object): boolean {
  const others = new Map(Object.entries(other).filter(([, value]) => value !== undefined));
  const entries = Object.entries(one).filter(([, value]) => value !== undefined);
  if (entries.length !== others.size) return false;
  return entries.every(([name, value]) => others.has(name) && isSameValue(value, others.get(name)));
}
