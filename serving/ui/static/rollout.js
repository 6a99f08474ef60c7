export const title = () => "rollout"; export async function look() { return {}; } export const draw = () => null;
