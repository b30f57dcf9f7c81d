"""Walks mailboxes: mail, calendars, contacts, To Do, settings; and the conversations of groups."""

import email

from msgraph.generated.models.file_attachment import FileAttachment
from msgraph.generated.models.o_data_errors.o_data_error import ODataError

# What users without mailbox, and those that are blocked, answer.
NO_SETTINGS = {"MailboxNotEnabledForRESTAPI", "ErrorInvalidUser", "ErrorAccessDenied"}
IMMUTABLE = {"Prefer": 'IdType="ImmutableId"'}


async def walk(client, tenant, users, groups):
    mailboxes = 0
    for user in users:
        one = client.graph.users.by_user_id(user.id)
        try:
            await client.get(one.mailbox_settings)
        except ODataError as error:
            client.expect(error.error.code in NO_SETTINGS, f"settings: {error.error.code}")
            continue
        mailboxes += 1
        await client.part(mail(client, one))
        await client.part(settings(client, one))
        await client.part(calendars(client, one))
        await client.part(contacts(client, one))
        await client.part(tasks(client, one))
    client.expect(mailboxes >= 3, f"{mailboxes} mailboxes")
    await client.part(changes(client, tenant, client.graph.users.by_user_id(users[0].id)))
    for group in groups:
        await client.part(conversations(client, client.graph.groups.by_group_id(group.id)))


async def mail(client, one):
    folders, _ = await client.delta(one.mail_folders.delta, 10, IMMUTABLE)
    listed = await client.pages(one.mail_folders, include_hidden_folders="true", top=3)
    client.expect(len(listed) > 8, f"{len(listed)} mail folders")
    inbox = one.mail_folders.by_mail_folder_id("inbox")
    await client.get(inbox)
    await client.pages(inbox.child_folders)
    messages, _ = await client.delta(inbox.messages.delta, 1, {"Prefer": 'IdType="ImmutableId",odata.maxpagesize=5'})
    again = await client.pages(inbox.messages, IMMUTABLE, top=4)
    client.expect({m.id for m in messages} == {m.id for m in again}, "the delta and the list of the inbox differ")
    for folder in folders[:8]:
        await client.pages(one.mail_folders.by_mail_folder_id(folder.id).messages, top=50)
    everything = await client.pages(one.messages, top=100)
    for message in everything[:10] + [message for message in everything if message.has_attachments][:5]:
        await letter(client, one.messages.by_message_id(message.id))


async def letter(client, message):
    whole = await client.get(message)
    client.expect(whole.internet_message_id and whole.received_date_time and whole.body.content_type, "a message without its marks")
    mime = email.message_from_bytes(await client.bytes(message.content))
    client.expect(mime["Message-ID"] == whole.internet_message_id, f"{whole.internet_message_id}: MIME of another message")
    for attachment in await client.pages(message.attachments):
        there = message.attachments.by_attachment_id(attachment.id)
        alone = await client.get(there)
        if isinstance(alone, FileAttachment) and alone.content_bytes is not None:
            value = alone.content_bytes
            raw = await client.bytes_of(f"{client.wire.last.request.url}/$value")
            client.expect(raw == value, f"{alone.name}: $value and contentBytes differ")


async def settings(client, one):
    await client.pages(one.mail_folders.by_mail_folder_id("inbox").message_rules)
    await client.pages(one.outlook.master_categories)
    await client.pages(one.inference_classification.overrides)


async def calendars(client, one):
    for group in await client.pages(one.calendar_groups):
        await client.pages(one.calendar_groups.by_calendar_group_id(group.id).calendars)
    for calendar in await client.pages(one.calendars):
        there = one.calendars.by_calendar_id(calendar.id)
        await client.get(there)
        await client.pages(there.calendar_permissions)
        events = await client.pages(there.events, IMMUTABLE)
        if events:
            await client.delta(there.events.delta, 1, IMMUTABLE)
        for event in events:
            await meeting(client, one.events.by_event_id(event.id), event)


async def meeting(client, event, told):
    whole = await client.get(event)
    client.expect(whole.start.date_time and whole.start.time_zone, "an event without a beginning")
    if told.has_attachments:
        for attachment in await client.pages(event.attachments):
            await client.get(event.attachments.by_attachment_id(attachment.id))
    if told.recurrence is None:
        return
    kind = whole.recurrence.pattern.type
    client.expect(kind and whole.recurrence.range.type and whole.recurrence.range.start_date, "a series without a pattern")
    series = await client.get(event, expand=["exceptionOccurrences"])
    alone = await client.get(event, select=["id", "cancelledOccurrences"])
    year = whole.start.date_time[:4]
    window = {"start_date_time": f"{year}-01-01T00:00:00Z", "end_date_time": f"{int(year) + 1}-12-31T00:00:00Z"}
    instances = await client.pages(event.instances, **window)
    client.expect(len(instances) > 10, f"{len(instances)} instances of a weekly series in more than a year")
    client.expect({i.series_master_id for i in instances} == {series.id}, "an instance of another series")
    days = {instance.start.date_time[:10] for instance in instances}
    gone = {name.rsplit(".", 1)[1] for name in alone.cancelled_occurrences or []}
    client.expect(not days & gone, "a cancelled occurrence among the instances")
    exceptions = {i.id for i in instances if i.type.value == "exception"}
    client.expect({e.id for e in series.exception_occurrences or []} == exceptions, "exceptions told twice in two ways")


async def contacts(client, one):
    await client.delta(one.contact_folders.delta, 1)
    folders = await client.pages(one.contact_folders)
    everybody = await client.pages(one.contacts)
    for folder in folders:
        there = one.contact_folders.by_contact_folder_id(folder.id)
        await client.pages(there.child_folders)
        more = await client.pages(there.contacts)
        if more:
            await client.delta(there.contacts.delta, 1)
        everybody += more
    photos = 0
    for contact in everybody:
        whole = await client.get(one.contacts.by_contact_id(contact.id))
        client.expect(whole.display_name is not None, "a contact without name")
        try:
            photos += len(await client.bytes(one.contacts.by_contact_id(contact.id).photo.content)) > 0
        except ODataError as error:
            client.expect(error.response_status_code == 404, f"a photo: {error.response_status_code}")
    client.expect(photos, "no contact has a photo")


async def tasks(client, one):
    await client.delta(one.todo.lists.delta, 1)
    for told in await client.pages(one.todo.lists):
        there = one.todo.lists.by_todo_task_list_id(told.id)
        await client.get(there)
        found = await client.pages(there.tasks, expand=["checklistItems", "linkedResources"])
        if found:
            await client.delta(there.tasks.delta, 1)
        for task in found:
            item = there.tasks.by_todo_task_id(task.id)
            await client.get(item)
            if task.has_attachments:
                for attachment in await client.pages(item.attachments):
                    await client.bytes(item.attachments.by_attachment_base_id(attachment.id).content)


async def changes(client, tenant, one):
    """A day goes by, and the deltas tell it."""
    inbox = one.mail_folders.by_mail_folder_id("inbox").messages.delta
    folders = one.mail_folders.delta
    _, mail_link, _ = await client.round(inbox)
    _, folder_link, _ = await client.round(folders)
    tenant.control("advance?days=3")
    news, _, _ = await client.round(inbox.with_url(mail_link))
    client.expect(news, "three days without mail")
    gone = [message for message in news if "@removed" in message.additional_data]
    client.expect(gone and all(message.id for message in gone), "three days in which nothing left the inbox")
    news, _, _ = await client.round(folders.with_url(folder_link))
    client.expect(news, "three days in which no folder changed")


async def conversations(client, group):
    for thread in await client.pages(group.threads):
        there = group.threads.by_conversation_thread_id(thread.id)
        await client.get(there)
        for post in await client.pages(there.posts):
            client.expect(post.body and post.received_date_time, "a post without body or date")
            if post.has_attachments:
                await client.pages(there.posts.by_post_id(post.id).attachments)
