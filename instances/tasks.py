from celery import shared_task


@shared_task
def advance(instance_id: int) -> None: ...
