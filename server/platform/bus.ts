/** In-process news: a hint that something changed, never the truth. Listeners re-read the database. */
export interface Bus {
  publish(topic: string): void
  /** Calls `listener` after each publish of the topic until the returned function is called. */
  subscribe(topic: string, listener: () => void): () => void
}

export function createBus(): Bus {
  const topics = new Map<string, Set<{ listener: () => void }>>()
  return {
    publish(topic) {
      const subscriptions = topics.get(topic)
      if (subscriptions === undefined) return
      // A copy: whoever subscribes now is not told of what was before. Whoever was unsubscribed meanwhile is left alone.
      for (const subscription of [...subscriptions]) if (subscriptions.has(subscription)) subscription.listener()
    },
    subscribe(topic, listener) {
      const subscription = { listener }
      const subscriptions = topics.get(topic) ?? new Set()
      topics.set(topic, subscriptions.add(subscription))
      return () => {
        subscriptions.delete(subscription)
        if (subscriptions.size === 0 && topics.get(topic) === subscriptions) topics.delete(topic)
      }
    },
  }
}
