// What a reader's answers say. pagoda/maths/raters.py has the same, and its sources.

/** ln Γ(z), z > 0 (Lanczos 1964; coefficients of Godfrey, g = 7). */
function lnGamma(z) {
  const c = [0.99999999999980993, 676.5203681218851, -1259.1392167224028, 771.32342877765313, -176.61502916214059,
    12.507343278686905, -0.13857109526572012, 9.9843695780195716e-6, 1.5056327351493116e-7];
  if (z < 0.5) return Math.log(Math.PI / Math.sin(Math.PI * z)) - lnGamma(1 - z);
  const sum = c.slice(1).reduce((total, value, k) => total + value / (z + k), c[0]);
  const t = z + 6.5;
  return 0.5 * Math.log(2 * Math.PI) + (z - 0.5) * Math.log(t) - t + Math.log(sum);
}

/** The distribution function of Beta(a, b), by its continued fraction (Lentz's method). */
function beta(x, a, b) {
  if (x <= 0 || x >= 1) return x <= 0 ? 0 : 1;
  if (x > (a + 1) / (a + b + 2)) return 1 - beta(1 - x, b, a);
  let [c, d] = [1, 1 / (1 - ((a + b) * x) / (a + 1))];
  let fraction = d;
  for (let m = 1; m < 300; m++) {
    for (const term of [(m * (b - m) * x) / ((a + 2 * m - 1) * (a + 2 * m)), (-(a + m) * (a + b + m) * x) / ((a + 2 * m) * (a + 2 * m + 1))]) {
      d = 1 / (1 + term * d);
      c = 1 + term / c;
      fraction *= c * d;
    }
  }
  return Math.exp(lnGamma(a + b) - lnGamma(a) - lnGamma(b) + a * Math.log(x) + b * Math.log(1 - x)) * fraction / a;
}

function betaQuantile(p, a, b) {
  let [low, high] = [0, 1];
  for (let k = 0; k < 60; k++) {
    const middle = (low + high) / 2;
    if (beta(middle, a, b) < p) low = middle;
    else high = middle;
  }
  return (low + high) / 2;
}

const sum = (values) => values.reduce((total, value) => total + value, 0);

/** Student's t that 2.5 % exceed. */
const t975 = (freedom) => Math.sqrt(freedom * (1 / betaQuantile(0.05, freedom / 2, 0.5) - 1));

/** How many independent answers those in clusters {hits, n} are worth (Korn & Graubard 1998). */
function effectiveCount(clusters) {
  const [k, total] = [clusters.length, sum(clusters.map(({ n }) => n))];
  const share = total ? sum(clusters.map(({ hits }) => hits)) / total : 0;
  if (k < 2 || share === 0 || share === 1) return k;
  const variance = ((k / (k - 1)) * sum(clusters.map(({ hits, n }) => (hits - share * n) ** 2))) / total ** 2;
  if (variance === 0) return total;
  return Math.min(total, ((share * (1 - share)) / variance) * (total / (total - 1)) * (t975(total - 1) / t975(k - 1)) ** 2);
}

/** The 95 % interval of a share: Clopper & Pearson's, of as many answers as the clusters are worth. */
function clusteredInterval(clusters) {
  const worth = effectiveCount(clusters);
  if (worth <= 1) return [0, 1];
  const x = (worth * sum(clusters.map(({ hits }) => hits))) / sum(clusters.map(({ n }) => n));
  return [x <= 0 ? 0 : betaQuantile(0.025, x, worth - x + 1), x >= worth ? 1 : betaQuantile(0.975, x + 1, worth - x)];
}

/** The exact two-sided p of as large a total, were each cluster's sum as likely as its negative; one a cluster: the binomial test. */
function signFlip(sums) {
  let chances = new Map([[0, 1]]);
  for (const value of sums) {
    const further = new Map();
    for (const [total, chance] of chances) {
      for (const signed of [value, -value]) further.set(total + signed, (further.get(total + signed) ?? 0) + chance / 2);
    }
    chances = further;
  }
  const reached = Math.abs(sum(sums));
  return Math.min(1, sum([...chances].filter(([total]) => Math.abs(total) >= reached).map(([, chance]) => chance)));
}
