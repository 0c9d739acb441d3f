/** The findings about the primaries of a cluster → one list: what holds for all of them is said once. Pure. */
import type { Finding } from '../server/finding.js';

/** The findings about the server at an address. */
export interface FindingsAt {
  readonly address: string;
  readonly findings: readonly Finding[];
}

export function mergeFindings(servers: readonly FindingsAt[]): readonly Finding[] {
  const [first, ...others] = servers;
  if (first !== undefined && others.length === 0) return first.findings;
  const all = servers.flatMap(({ address, findings }) =>
    findings.map((finding) => ({ address, finding })),
  );
  const subjects = new Set(all.map(({ finding }) => finding.subject));
  return [...subjects].flatMap((subject) => {
    const about = all.filter(({ finding }) => finding.subject === subject);
    const distinct = new Map(about.map(({ finding }) => [JSON.stringify(finding), finding]));
    const isOfAll = ({ length }: typeof about) => length === servers.length;
    return [...distinct].flatMap(([name, finding]) => {
      const same = about.filter((one) => JSON.stringify(one.finding) === name);
      if (isOfAll(same)) return finding;
      return same.map(({ address }) =>
        finding.text.includes(address)
          ? finding
          : { ...finding, text: `${address}: ${finding.text}` },
      );
    });
  });
}
